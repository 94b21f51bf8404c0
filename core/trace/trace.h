/* What the parts of a trace share: trace.c records, points.c what happens at points, plan.c decides what runs when,
   execute.c runs it, edit.c changes values in place, rows.c cuts out the rows of an invoke, grad.c goes backward. */
#ifndef LUASIGHT_TRACE_H
#define LUASIGHT_TRACE_H
#include "model/graph.h"

/* trace.c */
ls_status ls__trace_check_open(const ls_graph *g);
void ls__trace_close(ls_graph *g, bool keep);           /* keep: what was saved and can still be asked for stays */
const char *ls__trace_point_name(const ls_graph *g, int32_t invoke, int32_t point);
bool ls__trace_passed(const ls_graph *g, int64_t time);
int32_t ls__trace_above(const ls_graph *g, int32_t id); /* the node that `id` is a view or a piece of, -1: none */
int32_t ls__trace_edits(const ls__node *node, int32_t k); /* the k-th node whose value it changes in place, -1: no more */
int64_t ls__trace_own_time(const ls_graph *g, const ls__node *node); /* of what happens at a point, else -1 */

/* plan.c */
int64_t ls__settled_time(const ls_graph *g, int32_t id); /* when its value stands as the lines so far have it */
ls_status ls__time_node(ls_graph *g, int32_t id);       /* finds the time of one node; may move its invoke to a later pass */
ls_status ls__time_all(ls_graph *g);                    /* until nothing moves any more */
ls_status ls__plan(ls_graph *g, int32_t demanded);      /* demanded: a node, or -1 at the end of the trace */

/* execute.c */
void ls__trace_let_go(ls_graph *g, int32_t id);         /* releases a value that nobody waits for */
ls_status ls__execute_now(ls_graph *g, int32_t id);     /* one node, whatever the order */

/* edit.c */
ls_status ls__edit_write(ls_graph *g, const ls__node *node);         /* the value at a point gives way to another */
ls_status ls__edit_value(ls_graph *g, int32_t id, ls_value *out);    /* an operator in place, or self[index] = value */
void ls__edit_everywhere(ls_graph *g, void *old, const ls_value *fresh); /* one tensor for another, in all that holds it */

/* own.c: memory that is not the run's own */
bool ls__own_touches(const ls_value *stream, int32_t n, void *tensor); /* some tensor lies in the memory of `tensor` */
bool ls__own_foreign(const ls_graph *g, void *tensor);  /* its memory is the caller's or the model's */
ls_status ls__own_unchanged(const ls__node *node);      /* the tensors in its arguments are as they were when it was written */
ls_status ls__own_inputs(ls_graph *g);                  /* the run of a model that changes values in place gets copies */
ls_status ls__own_arguments(ls_graph *g, const ls__node *node, ls_value *s, ls_value *own); /* so does a module that a body calls */
ls_status ls__own_keep(ls_graph *g, const ls_program *p); /* copies what the forward changes of the model */
ls_status ls__own_inside(const ls_graph *g, const ls__node *node); /* fails where it could reach into the rows of another invoke */
void ls__own_put_back(ls_graph *g);                     /* gives the model what it had before the trace */

/* rows.c */
ls_status ls__rows_take(ls_graph *g, int32_t id, const ls_value *whole, ls_value *out);
ls_status ls__rows_put(ls_graph *g, int32_t id, ls_value *whole, const ls_value *part); /* of one tensor or structure */
bool ls__rows_all(const ls_graph *g, int32_t invoke);   /* the invoke's rows are all of the pass */
bool ls__rows_several(const ls_graph *g);               /* invokes share batches, so a value may be a part of one */
ls_value *ls__rows_whole(ls_graph *g, int32_t id);      /* the value at the point that the node's is a piece of, else its own */

/* grad.c */
ls_status ls__grad_plan(ls_graph *g);                   /* which backward gives which gradient, where autograd begins */
bool ls__grad_records(const ls_graph *g);               /* autograd is on from here */
ls_status ls__grad_arrive(ls_graph *g);                 /* at a new point: leaves that gradients are asked of */
ls_status ls__grad_watch(ls_graph *g, int32_t id);      /* its value just came and its gradient is asked for */
ls_status ls__grad_backward(ls_graph *g, int32_t id);
void ls__grad_close(ls_graph *g);

/* narrow.c: calls whose results are used at some positions only */
void ls__narrow_plan(ls_graph *g);
#endif
