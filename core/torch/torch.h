/* What the rest of the core asks of libtorch. The files of this folder are the only ones that see libtorch itself. */
#ifndef LUASIGHT_TORCH_H
#define LUASIGHT_TORCH_H
#include "value/value.h"
#ifdef __cplusplus
extern "C" {
#endif

/* tensor.cc, tensor_ask.cc */
void ls__tensors_start(void);                             /* values may point to tensors from here on */
void ls__torch_stop(void);                                /* no new tensors until the next start */
void ls__tensor_retain(void *tensor);
void ls__tensor_release(void *tensor);
bool ls__tensor_shares(void *a, void *b);                 /* the same storage */
int64_t ls__tensor_version(void *tensor);
bool ls__tensor_equal(void *a, void *b);                  /* shape, dtype and numbers */
ls_status ls__tensor_clone(void *tensor, ls_value *out);
ls_status ls__tensor_shape_only(void *tensor, ls_value *out); /* the same without numbers */
ls_status ls__tensor_raw(void *tensor, ls_value *keep, const void **data); /* its numbers one behind the other, held by `keep` */
/* A tensor on memory of ours; `strides` NULL: the elements lie one behind the other. `done(context)` is called once: when the
   last tensor on it is gone, or before this returns an error. */
ls_status ls__tensor_map(void *data, const int64_t *shape, const int64_t *strides, int32_t dims, const char *dtype,
                         void (*done)(void *), void *context, ls_value *out);
ls_status ls__tensor_sizes(void *tensor, ls_value *out);  /* LS_LIST of LS_INT */

/* grad.cc */
typedef struct ls__capture ls__capture;                   /* a hook of libtorch that takes the gradient of a tensor */
ls_status ls__capture_new(void *tensor, ls__capture **out);
ls_status ls__capture_take(ls__capture *capture, ls_value *out); /* LS_NONE where no gradient came since the last time */
void ls__capture_free(ls__capture *capture);
bool ls__tensor_requires_grad(void *tensor);
ls_status ls__tensor_leaf(void *tensor, ls_value *out);   /* with the same numbers, recording; LS_NONE for whole numbers */
ls_status ls__tensor_lend(void *tensor, bool *lent);      /* autograd records for it, until it is given back */
void ls__tensor_give_back(void *tensor);
void ls__value_detach(ls_value *v);                       /* its tensors record nothing any more */
ls_status ls__tensor_same_sizes(void *given, void *like);
ls_status ls__tensor_narrow(void *tensor, int32_t axis, int64_t first, int64_t count, ls_value *out);
/* A copy of `whole` (NULL: nothing yet, `all` long on the axis) in which `part` stands from `first` on. */
ls_status ls__tensor_with_rows(void *whole, void *part, int32_t axis, int64_t first, int64_t all, ls_value *out);
bool ls__tensor_overlaps(void *a, void *b);               /* may have a byte in common */
uint64_t ls__tensor_layout(void *tensor);                 /* a number, never 0, for its storage, place, sizes and strides */
bool ls__tensor_fills(void *tensor);                      /* it reaches over all of its storage */

/* op.cc, call.cc: a prepared call is an operator whose overload is chosen and whose constants are converted; `kinds` gives
   for each node id the ls_kind expected (LS_NONE where unknown). */
typedef struct ls__call ls__call;
ls_status ls__op_run(const ls_op *op, const ls_value *args, int32_t n, ls_value *out, int32_t *n_out); /* no LS_NODE inside */
ls_status ls__call_prepare(const ls_op *op, const ls_value *args, int32_t n, const uint8_t *kinds, ls__call **out);
ls_status ls__call_run(ls__call *call, const ls_value *values, ls_value *out); /* several results: one LS_TUPLE */
void ls__call_free(ls__call *call);
int32_t ls__call_results(const ls__call *call);                /* how many results */
uint8_t ls__call_kind(const ls__call *call, int32_t result);   /* ls_kind of a result */
int32_t ls__call_written(const ls__call *call, int32_t k);     /* the k-th node whose value it changes in place, -1: no more */
bool ls__call_changes_own(const ls__call *call);               /* it changes a tensor that is no node */
bool ls__op_addresses(const ls_op *op);                        /* its result lies where its numbers say, in or beside its argument */
int32_t ls__call_view_of(const ls__call *call);                /* node whose storage the result may share, else -1 */
void ls__scan_enter(bool on); /* while on, operators without a form for shapes alone run on zeros */
const char *ls__op_name(const ls_op *op);
/* What a name is among the arguments of the overloads: none has it, some take it, or all that have it write to it and it is
   not the first (out =). */
enum { LS__ARGUMENT_NONE = 0, LS__ARGUMENT_TAKEN = 1, LS__ARGUMENT_WRITTEN = 2 };
int32_t ls__op_argument(const ls_op *op, const char *name);
int32_t ls__op_arguments(const ls_op *op);                     /* the most that an overload has */
bool ls__call_writes_others(const ls__call *call);             /* changes an argument that is not the first */
bool ls__operator_is_safe(const char *name);                   /* on the list of those that a file may call: operators_safe.txt */

/* index.cc: values only, no LS_NODE inside */
ls_status ls__index_get(const ls_value *self, const ls_value *index, int32_t n, ls_value *out);
ls_status ls__index_set(const ls_value *self, const ls_value *index, int32_t n, const ls_value *value);

/* run.cc, cuda.cc: what the library sets in its process when it starts, and puts back when it stops. */
void ls__torch_backtraces(bool on);    /* of libtorch's errors, which take milliseconds each */
void ls__torch_use_cores(bool on);     /* as many threads as there are usable cores, unless OMP_NUM_THREADS is set */
void ls__torch_warnings(bool on);      /* off: what libtorch warns of while it is called is dropped */
void ls__torch_load_cuda(void);        /* where there is a device; before the first use of libtorch */

/* run.cc: what surrounds a run. Autograd off costs nothing per operator. */
typedef struct ls__mode { uint64_t included, excluded; int32_t grad; } ls__mode;
void ls__mode_enter(bool autograd, ls__mode *saved);
void ls__mode_leave(const ls__mode *saved);

#ifdef __cplusplus
}
#endif
#endif
