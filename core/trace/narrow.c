/* Narrowing a head: where the output of a head is used at some positions only, the head runs at those alone. Where a call's result is used
   only as `y[i, a:b]`, and the called function treats every position alone (model/positionwise.c), the call's argument is cut to these
   positions before the call instead.

   The plan finds such calls and notes the indexing node of each. The argument is cut when the call runs, since only then the number of its
   axes is known. Afterwards the run's own copy of the indexing node indexes a result that is cut already: a number in it becomes 0, and a
   slice becomes the whole axis. */
#include <string.h>
#include "trace/trace.h"

/* ---- what is used of a value --------------------------------------------------------------------------------------- */

static bool waits(const ls_trace *t, int32_t id) { return t->plan.nodes[id].needed && !t->run.nodes[id].done; }

/* Returns the only node that has yet to run and uses the value of node `id`; -1 where several nodes use the value, or it is saved. */
static int32_t only_user(const ls_trace *t, int32_t id) {
  if (t->owner.nodes.at[id].saved || t->plan.nodes[id].uses != 1) return -1;
  for (int32_t i = id + 1; i < t->owner.nodes.count; i++) {
    if (!waits(t, i)) continue;
    const ls__node *node = ls__seen(t, i);
    for (int32_t k = 0; k < node->n; k++)
      if (node->stream[k].kind == LS_NODE && node->stream[k].aux == id) return i;
  }
  return -1;
}

/* Whether `node` indexes the value of node `of` with numbers and slices only, and leaves out a part of that value. */
static bool selects(const ls__node *node, int32_t of) {
  if (node->kind != LS__GETITEM || node->stream[0].aux != of || node->n < 2) return false;
  bool less = false;
  for (int32_t i = 1; i < node->n; i++) {
    const ls_value *item = &node->stream[i];
    if (item->kind == LS_INT) {
      less = true;
    } else if (item->kind == LS_SLICE) {
      for (int32_t k = 1; k <= 3; k++) {
        if (item[k].kind != LS_INT && item[k].kind != LS_NONE) return false;
        less = less || item[k].kind == LS_INT;
      }
      i += 3;
    } else {
      return false;
    }
  }
  return less;
}

/* Returns the read or write of a point whose value node `id` reads, writes or edits; where there is none, node `id` itself. */
static const ls__node *point_of(const ls_trace *t, int32_t id) { return &t->owner.nodes.at[ls__point_node(t, id)]; }

static bool is_point(const ls__node *node) { return node->kind == LS__READ || node->kind == LS__WRITE; }

/* ---- calls that a body added --------------------------------------------------------------------------------------- */

static bool calls_positionwise(const ls__node *node) {
  return node->kind == LS__CALL && node->hook < 0 && node->n == 1 && ls__function_is_positionwise(ls__program_function(node->program));
}

static void narrow_call(ls_trace *t, int32_t id) {
  const ls__node *nodes = t->owner.nodes.at;
  if (!calls_positionwise(&nodes[id])) return;
  int32_t user = only_user(t, id), call = id;
  if (user < 0 || !selects(&nodes[user], id)) return;
  for (;;) { /* in nested calls such as head(norm(x)), the argument of the innermost call, `x`, is cut to the positions that are used */
    const ls_value *argument = &ls__seen(t, call)->stream[0];
    int32_t below = argument->kind == LS_NODE ? argument->aux : -1;
    if (below < 0 || t->run.nodes[below].done || only_user(t, below) != call || !calls_positionwise(&nodes[below])) break;
    call = below;
  }
  t->plan.nodes[call].narrow = user;
}

/* ---- the model's own head ------------------------------------------------------------------------------------------ */

/* Whether a node other than `read` that has yet to run reads or changes a value at one of the points from `first` to `last`. */
static bool others_look(const ls_trace *t, int32_t first, int32_t last, int32_t read) {
  for (int32_t i = 0; i < t->owner.nodes.count; i++) {
    if (i == read || !waits(t, i)) continue;
    const ls__node *at = point_of(t, i);
    if (is_point(at) && at->slot >= first && at->slot <= last) return true;
  }
  return false;
}

static void narrow_read(ls_trace *t, int32_t id) {
  const ls__node *nodes = t->owner.nodes.at;
  const ls_program *p = t->invokes[nodes[id].invoke].program;
  int32_t point = nodes[id].slot, value = id, user = only_user(t, id);
  ls__point_info call = ls__program_point(p, point);
  if (call.kind != LS_POINT_OUTPUT) return;
  if (user >= 0 && !ls__function_is_positionwise(call.function)) {
    const ls__node *piece = &nodes[user];
    if (piece->kind != LS__GETITEM || piece->n != 2 || piece->stream[0].aux != id) return;
    int32_t maker = ls__program_maker(p, call.instance, &piece->stream[1]);
    if (maker < 0) return;
    call = ls__program_call(p, maker);
    if (!ls__function_is_positionwise(call.function)) return;
    value = user;
    user = only_user(t, value);
  }
  if (user < 0 || !selects(&nodes[user], value)) return;
  /* `begins` is the time of the call's input point, which the run reaches before the call's output point `point` */
  int64_t begins = t->plan.nodes[id].time - point + call.input;
  if (t->run.now >= begins || others_look(t, call.input, point, id)) return;
  t->plan.narrow_instance = call.instance;
  t->plan.narrow_item = user;
}

/* ---- the head under several invokes --------------------------------------------------------------------------------- */

/* Node `item` computes value[row, position, ...]. Returns where in the node's stream the second index is; -1 where it is not a number. */
static int32_t position_in(const ls__node *item) {
  int32_t second = item->stream[1].kind == LS_SLICE ? 5 : 2;
  return second < item->n && item->stream[second].kind == LS_INT ? second : -1;
}

static int64_t position(const ls_trace *t, int32_t item) {
  const ls__node *node = &t->owner.nodes.at[item];
  return node->stream[position_in(node)].as.i;
}

/* Node `id` reads a value for one invoke. Returns the node that takes one position, as value[row, position] does, of this value or of an
   element of it; -1 where there is no such node, or where the value is used elsewhere too. */
static int32_t position_of(const ls_trace *t, int32_t id) {
  const ls__node *nodes = t->owner.nodes.at;
  int32_t of = only_user(t, id), item = of >= 0 && nodes[of].kind == LS__ROWS ? only_user(t, of) : -1;
  if (item >= 0 && t->owner.nodes.kinds[id] != LS_TENSOR && nodes[item].kind == LS__GETITEM && nodes[item].n == 2) {
    of = item;
    item = only_user(t, of);
  }
  return item >= 0 && selects(&nodes[item], of) && position_in(&nodes[item]) >= 0 ? item : -1;
}

/* Node `item` takes a position of an invoke's rows, or of one element of these rows. Returns the node whose value is the rows; -1 where
   there is no such node. `piece` becomes the index of the element, NULL where `item` indexes the rows themselves. */
static int32_t rows_under(const ls_trace *t, int32_t item, const ls_value **piece) {
  const ls__node *nodes = t->owner.nodes.at;
  int32_t of = nodes[item].stream[0].kind == LS_NODE ? nodes[item].stream[0].aux : -1;
  *piece = NULL;
  if (of >= 0 && nodes[of].kind == LS__GETITEM && nodes[of].n == 2) {
    *piece = &nodes[of].stream[1];
    of = nodes[of].stream[0].kind == LS_NODE ? nodes[of].stream[0].aux : -1;
  }
  return of >= 0 && nodes[of].kind == LS__ROWS ? of : -1;
}

static bool same_piece(const ls_value *a, const ls_value *b) {
  if (!a || !b) return a == b;
  if (a->kind != b->kind) return false;
  return a->kind == LS_STRING ? !strcmp(a->as.s, b->as.s) : a->kind == LS_INT && a->as.i == b->as.i;
}

/* The nodes with which all invokes read a value at the same point, where each invoke takes the same position of its own rows. */
typedef struct readers {
  int32_t first, item, count; /* the first read, the node that takes a position of its value, and the number of reads */
  const ls_value *piece;      /* the index of the element of the point's value that the invokes use; NULL: they use the whole value */
} readers;

static bool find_readers(const ls_trace *t, int64_t last, readers *out) {
  *out = (readers){.first = -1};
  for (int32_t i = 0; i < t->owner.nodes.count; i++) {
    const ls__node *node = &t->owner.nodes.at[i];
    if (!waits(t, i) || t->plan.nodes[i].time != last || node->kind != LS__READ) continue;
    if (t->invokes[node->invoke].kind != LS_INVOKE_ROWS || t->invokes[node->invoke].steps) return false;
    int32_t item = position_of(t, i);
    if (item < 0) return false;
    const ls_value *piece;
    rows_under(t, item, &piece);
    if (out->first < 0) *out = (readers){i, item, 0, piece};
    if (position(t, item) != position(t, out->item) || !same_piece(out->piece, piece)) return false;
    out->count++;
  }
  return out->first >= 0;
}

/* Narrows the head where all invokes of the last pass take the same position of its output, each for its own rows. */
static void narrow_invokes(ls_trace *t, int64_t last) {
  readers all;
  if (!find_readers(t, last, &all)) return;
  const ls__node *first = &t->owner.nodes.at[all.first];
  const ls_program *p = t->invokes[first->invoke].program;
  int32_t point = first->slot, pass = ls__pass_of(last), at_point = 0;
  ls__point_info call = ls__program_point(p, point);
  if (call.kind != LS_POINT_OUTPUT) return;
  if (all.piece) {
    int32_t maker = ls__program_maker(p, call.instance, all.piece);
    if (maker < 0) return;
    call = ls__program_call(p, maker);
  }
  if (!ls__function_is_positionwise(call.function) || t->run.now >= last - point + call.input) return;
  for (int32_t i = 0; i < t->owner.nodes.count; i++) {
    const ls__node *at = point_of(t, i);
    if (!waits(t, i) || !is_point(at) || t->plan.invokes[at->invoke].pass != pass) continue;
    if (t->invokes[at->invoke].program != p) return;
    if (at->slot == point && t->owner.nodes.at[i].kind == LS__READ) at_point++;
    else if (at->slot >= call.input && at->slot <= point) return;
  }
  if (at_point != all.count) return;
  t->plan.narrow_instance = call.instance;
  t->plan.narrow_item = all.item;
}

/* ---- the plan ------------------------------------------------------------------------------------------------------ */

void ls__narrow_plan(ls_trace *t) {
  t->plan.narrow_instance = -1;
  int64_t last = t->plan.ordered ? t->plan.nodes[t->plan.order[t->plan.ordered - 1]].time : -1;
  bool one = t->invoke_count == 1 && t->invokes[0].kind == LS_INVOKE_WHOLE && !t->invokes[0].steps && !t->gradients;
  for (int32_t i = 0; i < t->owner.nodes.count; i++) {
    uint8_t kind = t->owner.nodes.at[i].kind;
    if (!waits(t, i)) continue;
    if (kind == LS__CALL) narrow_call(t, i);
    else if (one && kind == LS__READ && t->plan.nodes[i].time == last) narrow_read(t, i);
  }
  if (t->invoke_count > 1 && !t->gradients) narrow_invokes(t, last);
  if (t->run.model) ls__run_narrow(t->run.model, t->plan.narrow_instance);
}

/* ---- cutting ------------------------------------------------------------------------------------------------------- */

/* Returns the run's own copy of the indexing node `item`, in which the caller makes the indices count from the beginning of the cut value;
   NULL when out of memory. */
static ls__node *own_index(ls_trace *t, int32_t item) {
  ls__node *own = ls__trace_own_node(t, item);
  if (!own) ls__fail(LS_ERROR_MEMORY, "out of memory for the indices of a node");
  return own;
}

static ls_status uncut(const ls_value *argument, ls_value *out) {
  *out = *argument;
  ls_value_retain(out);
  return LS_OK;
}

/* Writes to `out` the tensor `argument` with a single position left on its second axis, the one that node `item` takes. The result of the
   call then has only position 0, so this index is set to 0 in the run's own copies of the nodes that index the result. */
static ls_status cut_position(ls_trace *t, int32_t item, const ls_value *argument, ls_value *out) {
  ls_tensor_info info;
  int64_t at = position(t, item);
  if (argument->kind != LS_TENSOR || ls_tensor_describe(argument, &info) || info.dims < 3) return uncut(argument, out);
  int64_t from = at < 0 ? at + info.shape[1] : at;
  /* the index is out of range: nothing is cut, and the indexing nodes raise the error when they run */
  if (from < 0 || from >= info.shape[1]) return uncut(argument, out);
  ls_value cut[8] = {{.kind = LS_SLICE}, {0}, {0}, {0}, {.kind = LS_SLICE}, {.kind = LS_INT, .as.i = from},
                     {.kind = LS_INT, .as.i = from + 1}, {0}}, made;
  ls_status status = ls__index_get(argument, cut, 8, &made);
  if (status) return status;
  const ls_value *piece;
  int64_t time = t->plan.nodes[t->owner.nodes.at[rows_under(t, item, &piece)].stream[0].aux].time;
  for (int32_t i = 0; i < t->owner.nodes.count; i++) {
    if (!waits(t, i) || t->owner.nodes.at[i].kind != LS__READ || t->plan.nodes[i].time != time) continue;
    int32_t other = position_of(t, i);
    ls__node *own = other >= 0 ? own_index(t, other) : NULL;
    if (own) own->stream[position_in(own)].as.i = 0;
    else if (other >= 0) status = LS_ERROR_MEMORY;
  }
  if (status) ls_value_release(&made);
  else *out = made;
  return status;
}

static const ls_value nothing = {.kind = LS_NONE};

/* Writes the indices of the indexing node `node` to `cut`, each as a slice of an axis of a tensor described by `info`, and returns the
   number of values in `cut`. Returns 0, so that the caller cuts nothing, where an index is out of range or is on the last axis, which the
   called function itself uses. */
static int32_t as_slices(const ls__node *node, const ls_tensor_info *info, ls_value *cut) {
  int32_t n = 0;
  for (int32_t i = 1, axis = 0; i < node->n; i++, axis++) {
    const ls_value *at = &node->stream[i];
    if (axis >= info->dims - 1) return 0;
    cut[n++] = (ls_value){.kind = LS_SLICE};
    if (at->kind == LS_SLICE) {
      memcpy(cut + n, at + 1, 3 * sizeof *cut);
      i += 3;
    } else {
      int64_t from = at->as.i < 0 ? at->as.i + info->shape[axis] : at->as.i;
      if (from < 0 || from >= info->shape[axis]) return 0;
      cut[n] = (ls_value){.kind = LS_INT, .as.i = from};
      cut[n + 1] = (ls_value){.kind = LS_INT, .as.i = from + 1};
      cut[n + 2] = nothing;
    }
    n += 3;
  }
  return n;
}

ls_status ls__narrow_cut(ls_trace *t, int32_t item, const ls_value *argument, ls_value *out) {
  const ls__node *node = &t->owner.nodes.at[item];
  ls_tensor_info info;
  ls_value cut[LS__LOCAL], made;
  const ls_value *piece;
  if (rows_under(t, item, &piece) >= 0) return cut_position(t, item, argument, out);
  bool fits = node->n <= LS__LOCAL / 4 && argument->kind == LS_TENSOR && !ls_tensor_describe(argument, &info);
  int32_t n = fits ? as_slices(node, &info, cut) : 0;
  if (!n) return uncut(argument, out);
  ls__node *own = own_index(t, item);
  if (!own) return LS_ERROR_MEMORY;
  ls_status status = ls__index_get(argument, cut, n, &made);
  if (status) return status;
  *out = made;
  for (int32_t i = 1; i < own->n; i++) {
    if (own->stream[i].kind == LS_INT) {
      own->stream[i].as.i = 0;
    } else {
      for (int32_t k = 1; k <= 3; k++) own->stream[i + k] = nothing;
      i += 3;
    }
  }
  return LS_OK;
}
