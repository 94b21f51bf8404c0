/* The functions by which the rest of the core uses libtorch. Only the files of this folder, core/torch, use libtorch itself. */
#ifndef LUASIGHT_TORCH_H
#define LUASIGHT_TORCH_H
#include "value/value.h"
#ifdef __cplusplus
extern "C" {
#endif

/* The functions of tensor.cc and tensor_ask.cc: the life of tensors, and facts about them. */
void ls__tensors_start(void);                             /* prepares libtorch; has to run before the first tensor is made */
void ls__torch_stop(void);                                /* after this call no tensor can be made until luasight is started again */
void ls__tensor_retain(void *tensor);
void ls__tensor_release(void *tensor);
int64_t ls__tensor_version(void *tensor);
bool ls__tensor_equal(void *a, void *b);                  /* whether two tensors have the same shape, dtype and numbers, NaN the same as NaN */
ls_status ls__tensor_clone(void *tensor, ls_value *out);
ls_status ls__tensor_shape_only(void *tensor, ls_value *out); /* makes a tensor of the same shape and dtype without numbers */
/* `*data` points to the tensor's numbers in contiguous memory, which is valid while the value `keep` is held. */
ls_status ls__tensor_raw(void *tensor, ls_value *keep, const void **data);
/* Makes a tensor on memory of the caller. Where `strides` is NULL, the elements lie one behind the other. With LS__CONJUGATE or
   LS__NEGATIVE in `lazy` the tensor's numbers are the conjugates or the negatives of those in memory. `done(context)` is called once: when
   the last tensor on the memory is released, or before this function returns an error. */
enum { LS__CONJUGATE = 1, LS__NEGATIVE = 2 };
ls_status ls__tensor_map(void *data, const int64_t *shape, const int64_t *strides, int32_t dims, const char *dtype, int32_t lazy,
                         void (*done)(void *), void *context, ls_value *out);
ls_status ls__tensor_sizes(void *tensor, ls_value *out);  /* the shape of a tensor as an LS_LIST of LS_INT */

/* memory.cc */
bool ls__tensor_shares(void *a, void *b);                 /* whether two tensors have the same storage */
bool ls__tensor_overlaps(void *a, void *b);               /* whether two tensors may have a byte in common */
uint64_t ls__tensor_layout(void *tensor);                 /* a hash, not 0, of a tensor's storage, offset, sizes and strides */
bool ls__tensor_fills(void *tensor);                      /* whether the elements of a tensor cover its whole storage */
const void *ls__tensor_memory(void *tensor);              /* what names the memory of a tensor, NULL where it has none; it may be gone */
int64_t ls__tensor_holders(void *tensor);                 /* how many references there are to a tensor */
int64_t ls__tensor_sharers(void *tensor);                 /* how many tensors there are on the memory of a tensor */
/* A move: tensors that overlap in memory go to a copy of this memory, in which each of them lies as before. It begins with the bytes of one
   tensor (ls__move_new) and takes in those of others that overlap with them (ls__move_grow, which says whether the bytes became more).
   After ls__move_copy, ls__move_tensor puts the place in the copy into a value whose tensor lies in these bytes. */
typedef struct ls__move ls__move;
ls_status ls__move_new(void *tensor, ls__move **out);
bool ls__move_grow(ls__move *m, void *tensor);
ls_status ls__move_copy(ls__move *m);
ls_status ls__move_tensor(ls__move *m, ls_value *v);
void ls__move_free(ls__move *m);

/* capture.cc: gradients as they pass in a backward */
typedef struct ls__capture ls__capture; /* a hook of libtorch at one version of a tensor, which takes the gradients that come to it */
/* Whom a hook asks, in a backward: `arrived` is called with the number of a capture to which its whole gradient in this backward has come,
   and writes to `fresh` the gradient that goes on in its place, or leaves LS_NONE there, so that nothing goes on from there yet. */
typedef struct ls__sweep {
  void (*arrived)(void *who, int32_t which, ls_value *fresh);
  void *who;
} ls__sweep;
ls_status ls__capture_new(void *tensor, int32_t which, ls__capture **out);
bool ls__capture_is_of(const ls__capture *capture, void *tensor); /* whether the tensor, as it is now, is the one of the capture */
void ls__capture_free(ls__capture *capture);
/* With `on`, the capture takes the gradients of the backwards that come, from none on; with `exchanges` it asks what goes on. */
void ls__capture_listen(ls__capture *capture, bool on, bool exchanges);
int32_t ls__capture_calls(const ls__capture *capture); /* how often a gradient has come since */
void ls__capture_sum(const ls__capture *capture, ls_value *out); /* the sum of the gradients that have come; LS_NONE if none has */
/* whether a gradient that goes on from the tensor of `from` reaches the tensor of `to` */
ls_status ls__capture_reaches(ls__capture *from, const ls__capture *to, bool *reaches);
ls_status ls__backward(void *loss, const ls_value *gradient, bool keep, const ls__sweep *now);
/* begins a backward at the tensor of a capture, with its gradient; keeps the graph */
ls_status ls__backward_from(ls__capture *capture, const ls_value *gradient, const ls__sweep *now);
ls_status ls__backward_release(void *loss);               /* frees what autograd keeps for a backward of `loss` */

/* place.cc: places of tensors in autograd's graph */
/* Gives a tensor a place in autograd's graph. `out` is the tensor, or, with `alias` or for a view, a new one in the same memory; LS_NONE
   for whole numbers. */
ls_status ls__tensor_source(void *tensor, bool alias, ls_value *out);
ls_status ls__tensor_place(void *tensor, ls_value *out);  /* a stand-in for the place of a tensor as it is now; LS_NONE where it has none */
bool ls__tensor_same_place(void *a, void *b);             /* whether two tensors, as they are now, have one place */
/* lets the gradient of the elements of `tensor`, a view, that do not lie in `region`, a tensor on the same memory, go to the place `before` */
ls_status ls__tensor_divide(void *tensor, void *before, void *region);

/* grad.cc */
bool ls__tensor_requires_grad(void *tensor);
bool ls__tensor_has_gradients(void *tensor);              /* whether tensors of this dtype may have gradients */
/* Sets requires_grad on a parameter, so that autograd records for it; `*made_trainable` says whether requires_grad was off before. */
ls_status ls__tensor_make_trainable(void *tensor, bool *made_trainable);
void ls__tensor_make_untrainable(void *tensor);
void ls__value_detach(ls_value *v);                       /* replaces each tensor in a value by one without autograd history */
bool ls__tensor_has_history(void *tensor);                /* whether autograd has recorded how the tensor was computed */
void ls__tensor_drop_history(void *tensor);               /* makes autograd forget, in place, how the tensor was computed */
ls_status ls__tensor_same_sizes(void *given, void *like);
ls_status ls__tensor_narrow(void *tensor, int32_t axis, int64_t first, int64_t count, ls_value *out);
/* Makes a copy of `whole` in which `part` replaces the rows from `first` on along an axis; with `in_place`, it is `whole` itself. Where
   `whole` is NULL, it is a new tensor with `all` rows. */
ls_status ls__tensor_with_rows(void *whole, void *part, int32_t axis, int64_t first, int64_t all, bool in_place, ls_value *out);

/* op.cc, call.cc: a prepared call is an operator whose overload is chosen and whose constants are converted; `kinds` has for each
   node the ls_kind that its value will have (LS_NONE where unknown). */
typedef struct ls__call ls__call;
ls_status ls__op_run(const ls_op *op, const ls_value *args, int32_t n, ls_value *out, int32_t *n_out); /* calls `op`; `args` has no nodes */
ls_status ls__call_prepare(const ls_op *op, const ls_value *args, int32_t n, const uint8_t *kinds, ls__call **out);
/* Runs a prepared call; `values` has the value of each node. Where the operator has several results, `*out` is an LS_TUPLE of them. */
ls_status ls__call_run(ls__call *call, const ls_value *values, ls_value *out);
void ls__call_free(ls__call *call);
int32_t ls__call_results(const ls__call *call);                /* the number of results of a call */
uint8_t ls__call_kind(const ls__call *call, int32_t result);   /* the ls_kind of a call's result */
int32_t ls__call_written(const ls__call *call, int32_t k);     /* the k-th node whose value the call changes in place; -1 where k is too
                                                                  large */
bool ls__call_changes_own(const ls__call *call);               /* whether the call changes a tensor argument that is a constant and not
                                                                  the value of a node */
bool ls__op_addresses(const ls_op *op);                        /* whether numbers among the operator's arguments say where in memory its
                                                                  result is, as for as_strided */
int32_t ls__call_view_of(const ls__call *call);                /* the node whose value may share its storage with a result of the call;
                                                                  -1 where there is none */
/* Returns the place in the stream of the first value whose memory a result of the call may be in; -1 where there is none. */
int32_t ls__call_view_at(const ls__call *call);
bool ls__call_may_return(const ls__call *call); /* whether a result may be in the memory of an argument though the two above do not say so */
void ls__scan_enter(bool on); /* with `on`, an operator that libtorch cannot run on shapes alone is run on zeros */
const char *ls__op_name(const ls_op *op);
/* What the argument called `name` is to an operator. LS__ARGUMENT_NONE: no overload has such an argument. LS__ARGUMENT_WRITTEN: each
   overload that has the argument writes to it, as to `out`, and the argument is not its first. LS__ARGUMENT_TAKEN: any other argument. */
enum { LS__ARGUMENT_NONE = 0, LS__ARGUMENT_TAKEN = 1, LS__ARGUMENT_WRITTEN = 2 };
int32_t ls__op_argument(const ls_op *op, const char *name);
int32_t ls__op_arguments(const ls_op *op);                     /* the most arguments that an overload of an operator has */
bool ls__call_writes_others(const ls__call *call);             /* whether a call changes an argument other than the first */
bool ls__operator_is_safe(const char *name);                   /* whether functions and stored edits from a file may call an operator */

/* index.cc: reads and sets x[...] of a value; the `n` values of `index` have no nodes among them */
ls_status ls__index_get(const ls_value *self, const ls_value *index, int32_t n, ls_value *out);
ls_status ls__index_set(const ls_value *self, const ls_value *index, int32_t n, const ls_value *value);

/* run.cc, cuda.cc: what luasight sets in libtorch when it starts. When it stops, it sets backtraces and threads back. */
void ls__torch_backtraces(bool on);    /* whether libtorch makes a backtrace for each of its errors, which takes milliseconds */
void ls__torch_use_cores(bool on);     /* on: libtorch uses a thread for each usable core, unless OMP_NUM_THREADS is set; off: libtorch
                                          uses as many threads as before */
void ls__torch_warnings(bool on);      /* with `on` false, warnings of libtorch are dropped during calls of luasight */
void ls__torch_load_cuda(void);        /* loads libtorch_cuda if there is a CUDA device; has to run before the first use of libtorch */

/* run.cc: ls__mode_enter sets the thread's autograd state for a run, ls__mode_leave restores the state that was saved. With autograd off,
   operators take no time for autograd. */
typedef struct ls__mode { uint64_t included, excluded; int32_t grad; } ls__mode;
void ls__mode_enter(bool autograd, ls__mode *saved);
void ls__mode_leave(const ls__mode *saved);

/* The states of libtorch's random generators. */
typedef struct ls__random ls__random;
ls_status ls__random_keep(ls__random **out);
void ls__random_restore(ls__random *r); /* sets the generators back to these states, and frees them */

#ifdef __cplusplus
}
#endif
#endif
