/* Gradients of a trace: planned, watched in the forward, read, set and edited in a backward. Included by trace.h. */
#ifndef LUASIGHT_TRACE_GRAD_H
#define LUASIGHT_TRACE_GRAD_H

/* grad_plan.c, grad.c, grad_backward.c */
ls_status ls__grad_plan(ls_trace *t);  /* finds which backward computes each gradient, and the time at which autograd begins */
/* whether node `id`, which has yet to run, asks for a gradient, or changes one, whose backward has run */
bool ls__grad_is_over(const ls_trace *t, int32_t id);
ls_status ls__grad_check(const ls_trace *t, int32_t demanded); /* fails where such a node is needed */
/* where node `id` reads, sets or edits a gradient: the node that reads or sets it (`id` itself where it does not edit); else -1 */
int32_t ls__grad_access(const ls_trace *t, int32_t id);
bool ls__grad_records(const ls_trace *t);               /* whether autograd records operators at the time that the run has reached */
void ls__grad_arrive(ls_trace *t);                      /* called when the run has reached a new point: begins to record where it has to */
/* finds where the run of the model makes the tensors whose gradients are asked for */
ls_status ls__grad_origins(ls_trace *t);
ls_status ls__grad_made(ls_trace *t, ls_value *value);  /* called when the model has made a tensor whose gradient is asked for */
/* called when node `id` has run: attaches hooks to values whose gradients are asked for */
ls_status ls__grad_watch(ls_trace *t, int32_t id);
/* whether the value whose gradient node `access` reads or sets is there, with the edits in place that are written above the node */
bool ls__grad_is_ready(const ls_trace *t, int32_t access);
/* attaches a hook to the value whose gradient node `access` reads or sets */
ls_status ls__grad_capture(ls_trace *t, int32_t access);
/* called when node `edit` has changed a value in place: an access written below it of the same tensor under a name of which the plan did not
   know that, as behind a module that gives back its input, means the tensor after the edit */
ls_status ls__grad_renew(ls_trace *t, int32_t edit);
ls_status ls__grad_backward(ls_trace *t, int32_t id);
/* calls `each` with each gradient that a backward has at hand */
void ls__grad_each(ls_trace *t, void (*each)(void *context, ls_value *tensor), void *context);
void ls__grad_close(ls_trace *t);

/* grad_rows.c */
/* notes that an invoke has set its rows of a tensor with the place `before` (ls__tensor_place) to `part`, which made `fresh` */
ls_status ls__grad_split(ls_trace *t, int32_t invoke, const ls_value *before, const ls_value *fresh, const ls_value *part);
ls_status ls__grad_moved(ls_trace *t, void *old, const ls_value *fresh); /* notes that a tensor was moved for an edit in place */
/* called when the value `changed` of node `of`, for which tensors were moved, has been changed in place; `of` is -1 where several values were,
   and `changed` is NULL where none was */
ls_status ls__grad_edited(ls_trace *t, int32_t of, const ls_value *changed);
/* Finds the tensor `whole` that the run holds and of which `row`, row `at` of the batch, is one; LS_NONE where that cannot be told. `first` is
   the row of the batch with which it begins. */
ls_status ls__grad_from(ls_trace *t, const ls_value *row, int32_t axis, int32_t at, ls_value *whole, int32_t *first);
/* called when an edit of row `at` was copied to its other place `row`, from a row of `from` (ls__grad_from); `view` is the place of the view
   of which `row` is a row, else LS_NONE or NULL */
ls_status ls__grad_followed(ls_trace *t, const ls_value *row, int32_t axis, int32_t at, const ls_value *from, const ls_value *view);
ls_status ls__grad_untold(void); /* fails: a gradient cannot be told */
/* Returns the tensor, or its place, at which the gradient of the value of node `of` is taken, which is `tensor` or rows of it. `rows` is the
   node that takes the rows out of it, -1 where it is all of it. */
const ls_value *ls__grad_home(const ls_trace *t, int32_t of, const ls_value *tensor, int32_t *rows);
void ls__grad_rows_free(ls_trace *t);

#endif
