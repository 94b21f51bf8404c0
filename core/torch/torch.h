/* What the rest of the core asks of libtorch. The files of this folder are the only ones that see libtorch itself. */
#ifndef LUASIGHT_TORCH_H
#define LUASIGHT_TORCH_H
#include "value/value.h"
#ifdef __cplusplus
extern "C" {
#endif

/* tensor.cc, tensor_ask.cc */
void ls__tensors_start(void);                             /* has to run before the first value of kind LS_TENSOR is made */
void ls__torch_stop(void);                                /* afterwards no tensor can be made until the library is started again */
void ls__tensor_retain(void *tensor);
void ls__tensor_release(void *tensor);
bool ls__tensor_shares(void *a, void *b);                 /* whether both have the same storage */
int64_t ls__tensor_version(void *tensor);
bool ls__tensor_equal(void *a, void *b);                  /* whether both have the same shape, dtype and numbers */
ls_status ls__tensor_clone(void *tensor, ls_value *out);
ls_status ls__tensor_shape_only(void *tensor, ls_value *out); /* a tensor of the same shape and dtype without numbers */
/* The tensor's numbers in contiguous memory, which `keep` holds. */
ls_status ls__tensor_raw(void *tensor, ls_value *keep, const void **data);
/* Makes a tensor on memory of the caller. Where `strides` is NULL, the elements lie one behind the other. `done(context)` is called
   once: when the last tensor on the memory is released, or before this function returns an error. */
ls_status ls__tensor_map(void *data, const int64_t *shape, const int64_t *strides, int32_t dims, const char *dtype,
                         void (*done)(void *), void *context, ls_value *out);
ls_status ls__tensor_sizes(void *tensor, ls_value *out);  /* the shape as an LS_LIST of LS_INT */

/* grad.cc */
typedef struct ls__capture ls__capture;                   /* a hook of libtorch that takes the gradient of a tensor */
ls_status ls__capture_new(void *tensor, ls__capture **out);
ls_status ls__capture_take(ls__capture *capture, ls_value *out); /* LS_NONE where no gradient came since the last call */
void ls__capture_free(ls__capture *capture);
bool ls__tensor_requires_grad(void *tensor);
ls_status ls__tensor_leaf(void *tensor, ls_value *out);   /* a leaf with the same numbers whose gradient autograd records; LS_NONE for
                                                             whole numbers */
ls_status ls__tensor_lend(void *tensor, bool *lent);      /* lets autograd record for a parameter that does not train; `lent` says
                                                             whether it changed that */
void ls__tensor_give_back(void *tensor);
void ls__value_detach(ls_value *v);                       /* replaces the tensors in a value by tensors without autograd history */
ls_status ls__tensor_same_sizes(void *given, void *like);
ls_status ls__tensor_narrow(void *tensor, int32_t axis, int64_t first, int64_t count, ls_value *out);
/* A copy of `whole` in which `part` replaces the rows from `first` on. Where `whole` is NULL, a new tensor with `all` rows on the axis. */
ls_status ls__tensor_with_rows(void *whole, void *part, int32_t axis, int64_t first, int64_t all, ls_value *out);
bool ls__tensor_overlaps(void *a, void *b);               /* whether both may have a byte in common */
uint64_t ls__tensor_layout(void *tensor);                 /* a number, not 0, that stands for its storage, offset, sizes and strides */
bool ls__tensor_fills(void *tensor);                      /* whether its elements reach over all bytes of its storage */

/* op.cc, call.cc: a prepared call is an operator whose overload is chosen and whose constants are converted; `kinds` has for each
   node the ls_kind that its value will have (LS_NONE where unknown). */
typedef struct ls__call ls__call;
ls_status ls__op_run(const ls_op *op, const ls_value *args, int32_t n, ls_value *out, int32_t *n_out); /* `args` without nodes */
ls_status ls__call_prepare(const ls_op *op, const ls_value *args, int32_t n, const uint8_t *kinds, ls__call **out);
ls_status ls__call_run(ls__call *call, const ls_value *values, ls_value *out); /* several results become one LS_TUPLE */
void ls__call_free(ls__call *call);
int32_t ls__call_results(const ls__call *call);                /* the number of results */
uint8_t ls__call_kind(const ls__call *call, int32_t result);   /* the ls_kind of a result */
int32_t ls__call_written(const ls__call *call, int32_t k);     /* the k-th node whose value the call changes in place; -1 where k is too
                                                                  large */
bool ls__call_changes_own(const ls__call *call);               /* whether it changes a tensor that is no node's value */
bool ls__op_addresses(const ls_op *op);                        /* whether numbers in its arguments place its result in the memory around
                                                                  its tensor argument, as for as_strided */
int32_t ls__call_view_of(const ls__call *call);                /* the node whose storage the result may share, else -1 */
void ls__scan_enter(bool on); /* while on, operators that libtorch cannot run on shapes alone run on zeros */
const char *ls__op_name(const ls_op *op);
/* What a name is among the arguments of an operator's overloads: no overload has it; some overload reads it; or every overload that has
   it writes to it, as to `out`, and it is not the first argument. */
enum { LS__ARGUMENT_NONE = 0, LS__ARGUMENT_TAKEN = 1, LS__ARGUMENT_WRITTEN = 2 };
int32_t ls__op_argument(const ls_op *op, const char *name);
int32_t ls__op_arguments(const ls_op *op);                     /* the most arguments that an overload has */
bool ls__call_writes_others(const ls__call *call);             /* whether it changes an argument other than the first */
bool ls__operator_is_safe(const char *name);                   /* whether a file may call the operator: operators_safe.txt lists those */

/* index.cc: indices of values; there are no nodes among them */
ls_status ls__index_get(const ls_value *self, const ls_value *index, int32_t n, ls_value *out);
ls_status ls__index_set(const ls_value *self, const ls_value *index, int32_t n, const ls_value *value);

/* run.cc, cuda.cc: changes of the process when the library starts, undone when it stops. */
void ls__torch_backtraces(bool on);    /* whether libtorch makes a backtrace for each of its errors, which takes milliseconds */
void ls__torch_use_cores(bool on);     /* sets as many threads as there are usable cores, unless OMP_NUM_THREADS is set; off: sets the
                                          number from before */
void ls__torch_warnings(bool on);      /* off: warnings of libtorch during a call are dropped */
void ls__torch_load_cuda(void);        /* loads the CUDA half where there is a device; has to come before the first use of libtorch */

/* run.cc: the thread's autograd state around a run. With autograd off, operators do not pay for it. */
typedef struct ls__mode { uint64_t included, excluded; int32_t grad; } ls__mode;
void ls__mode_enter(bool autograd, ls__mode *saved);
void ls__mode_leave(const ls__mode *saved);

#ifdef __cplusplus
}
#endif
#endif
