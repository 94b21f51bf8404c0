/* Of a head whose output is read at some positions only, only those run: where all that is used of the result of a call is
   `y[i, a:b]`, and the called function treats every position alone, the argument is cut before the call instead.

   The plan looks for such calls and notes the indexing node; the cut itself is made when the call runs, since only then
   the number of axes is known. The index is rewritten to what is left to do: a number becomes 0, a slice becomes all. */
#include <string.h>
#include "trace/trace.h"

/* ---- functions that treat every position alone -------------------------------------------------------------------- */

static int32_t dims_of(const ls_value *v) {
  ls_tensor_info info;
  return v->kind == LS_TENSOR && !ls_tensor_describe(v, &info) ? info.dims : -1;
}

/* The node works on the last axis of the node before it, with constants. */
static bool is_positionwise(const ls__node *node, int32_t before) {
  if (node->kind != LS__OP || node->n < 2 || node->stream[0].kind != LS_NODE || node->stream[0].aux != before) return false;
  for (int32_t i = 1; i < node->n; i++)
    if (node->stream[i].kind == LS_NODE) return false;
  const char *name = ls__op_name(node->op);
  const ls_value *second = &node->stream[1];
  if (!strcmp(name, "linear") || !strcmp(name, "matmul")) return dims_of(second) == 2;
  if (!strcmp(name, "layer_norm") || !strcmp(name, "rms_norm")) return second->kind == LS_OPEN && second->as.i == 1;
  if (!strcmp(name, "add_") || !strcmp(name, "add")) return node->n == 2 && dims_of(second) == 1;
  return false;
}

static bool function_is_positionwise(const ls_graph *f) {
  if (f->inputs != 1 || f->positional != 1 || f->count < 2) return false;
  if (f->result.kind != LS_NODE || f->result.aux != f->count - 1) return false;
  for (int32_t i = 1; i < f->count; i++)
    if (!is_positionwise(&f->nodes[i], i - 1)) return false;
  return true;
}

/* ---- what is used of a value --------------------------------------------------------------------------------------- */

/* The one node that waits for the value of `id`, -1 where there are others or the value is kept. */
static int32_t only_user(const ls_graph *g, int32_t id) {
  if (g->nodes[id].saved || g->nodes[id].uses != 1) return -1;
  for (int32_t i = id + 1; i < g->count; i++) {
    const ls__node *node = &g->nodes[i];
    if (!node->needed || node->done) continue;
    for (int32_t k = 0; k < node->n; k++)
      if (node->stream[k].kind == LS_NODE && node->stream[k].aux == id) return i;
  }
  return -1;
}

/* value[numbers and slices], at least one of which leaves something out. */
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

/* ---- calls that a body added --------------------------------------------------------------------------------------- */

static void narrow_call(ls_graph *g, int32_t id) {
  if (!function_is_positionwise(g->nodes[id].program->function) || g->nodes[id].n != 1) return;
  int32_t user = only_user(g, id), call = id;
  if (user < 0 || !selects(&g->nodes[user], id)) return;
  for (;;) { /* as deep as the calls go: head(norm(x)) */
    const ls_value *argument = &g->nodes[call].stream[0];
    if (argument->kind != LS_NODE) break;
    int32_t below = argument->aux;
    const ls__node *node = &g->nodes[below];
    if (node->kind != LS__CALL || node->done || node->n != 1 || only_user(g, below) != call ||
        !function_is_positionwise(node->program->function))
      break;
    call = below;
  }
  g->nodes[call].narrow = user;
}

/* ---- the model's own head ------------------------------------------------------------------------------------------ */

/* Which instance gives element `key` of the result of an instance, -1 where the element is something else or is used
   elsewhere in the function too. */
static int32_t maker_of(const ls_program *p, int32_t instance, const ls_value *key) {
  const ls_graph *f = p->instances[instance].function;
  if (f->result.kind != LS_NODE || f->nodes[f->result.aux].kind != LS__SEQ) return -1;
  const ls__node *seq = &f->nodes[f->result.aux];
  int32_t place = 0, made = -1;
  for (int32_t i = 1; i < seq->n; place++) {
    const char *name = NULL;
    if (seq->stream[i].kind == LS_KEY) name = seq->stream[i++].as.s;
    bool wanted = key->kind == LS_STRING ? name && !strcmp(name, key->as.s) : key->kind == LS_INT && key->as.i == place;
    if (wanted && seq->stream[i].kind == LS_NODE) made = seq->stream[i].aux;
    i = ls__stream_value(seq->stream, i, seq->n);
  }
  if (made < 0 || f->nodes[made].kind != LS__CALL) return -1;
  int32_t uses = 0;
  for (int32_t i = 0; i < f->count; i++)
    for (int32_t k = 0; k < f->nodes[i].n; k++) uses += f->nodes[i].stream[k].kind == LS_NODE && f->nodes[i].stream[k].aux == made;
  return uses == 1 ? p->slots[p->instances[instance].slots + f->nodes[made].slot] : -1;
}

/* Whether anything but `read` looks at or changes what stands at the points from `first` to `last`. */
static bool others_look(const ls_graph *g, int32_t first, int32_t last, int32_t read) {
  for (int32_t i = 0; i < g->count; i++) {
    const ls__node *node = &g->nodes[i];
    const ls__node *at = node->edits >= 0 ? &g->nodes[g->nodes[node->edits].root] : node;
    if (i == read || !node->needed || node->done || (at->kind != LS__READ && at->kind != LS__WRITE)) continue;
    if (at->slot >= first && at->slot <= last) return true;
  }
  return false;
}

static void narrow_read(ls_graph *g, int32_t id, const ls_program *p) {
  int32_t point = g->nodes[id].slot;
  if (p->points[point].kind != LS_POINT_OUTPUT) return;
  int32_t instance = p->points[point].instance, value = id, user = only_user(g, id);
  if (user >= 0 && !function_is_positionwise(p->instances[instance].function)) {
    const ls__node *piece = &g->nodes[user];
    if (piece->kind != LS__GETITEM || piece->n != 2 || piece->stream[0].aux != id) return;
    instance = maker_of(p, instance, &piece->stream[1]);
    if (instance < 0 || !function_is_positionwise(p->instances[instance].function)) return;
    value = user;
    user = only_user(g, value);
  }
  if (user < 0 || !selects(&g->nodes[user], value)) return;
  int32_t input = p->instances[instance].input;
  int64_t begins = g->nodes[id].time - point + input; /* the call begins so far before what it gives */
  if (g->now >= begins || others_look(g, input, point, id)) return;
  g->narrow_instance = instance;
  g->narrow_item = user;
}

/* ---- the head under several invokes --------------------------------------------------------------------------------- */

/* The index of the second axis in value[row, position, ...], -1 where it is no number. */
static int32_t position_in(const ls__node *item) {
  int32_t second = item->stream[1].kind == LS_SLICE ? 5 : 2;
  return second < item->n && item->stream[second].kind == LS_INT ? second : -1;
}

/* The node that takes one position of what an invoke reads with node `id`, or of a piece of that, where that is all that is
   used of it; else -1. */
static int32_t position_of(const ls_graph *g, int32_t id) {
  int32_t of = only_user(g, id), item = of >= 0 && g->nodes[of].kind == LS__ROWS ? only_user(g, of) : -1;
  if (item >= 0 && g->kinds[id] != LS_TENSOR && g->nodes[item].kind == LS__GETITEM && g->nodes[item].n == 2) {
    of = item;
    item = only_user(g, of);
  }
  return item >= 0 && selects(&g->nodes[item], of) && position_in(&g->nodes[item]) >= 0 ? item : -1;
}

/* The node that a position is taken of with node `item`: the rows of an invoke, or a piece of them; -1 where it is neither. */
static int32_t rows_under(const ls_graph *g, int32_t item, const ls_value **piece) {
  int32_t of = g->nodes[item].stream[0].kind == LS_NODE ? g->nodes[item].stream[0].aux : -1;
  *piece = NULL;
  if (of >= 0 && g->nodes[of].kind == LS__GETITEM && g->nodes[of].n == 2) {
    *piece = &g->nodes[of].stream[1];
    of = g->nodes[of].stream[0].kind == LS_NODE ? g->nodes[of].stream[0].aux : -1;
  }
  return of >= 0 && g->nodes[of].kind == LS__ROWS ? of : -1;
}

static bool same_piece(const ls_value *a, const ls_value *b) {
  if (!a || !b) return a == b;
  if (a->kind != b->kind) return false;
  return a->kind == LS_STRING ? !strcmp(a->as.s, b->as.s) : a->kind == LS_INT && a->as.i == b->as.i;
}

/* All invokes of the last pass take the same position of what a head gives, each of its own rows: the head runs there alone. */
static void narrow_invokes(ls_graph *g, int64_t last) {
  int32_t first = -1, item = -1, reads = 0;
  const ls_value *piece = NULL, *other;
  for (int32_t i = 0; i < g->count; i++) {
    const ls__node *node = &g->nodes[i];
    if (!node->needed || node->done || node->time != last || node->kind != LS__READ) continue;
    if (g->invokes[node->invoke].kind != LS_INVOKE_ROWS || g->invokes[node->invoke].steps) return;
    int32_t own = position_of(g, i);
    if (own < 0) return;
    const ls__node *a = &g->nodes[own], *b = &g->nodes[item < 0 ? own : item];
    if (a->stream[position_in(a)].as.i != b->stream[position_in(b)].as.i) return;
    rows_under(g, own, &other);
    if (first < 0) first = i, item = own, piece = other;
    if (!same_piece(piece, other)) return;
    reads++;
  }
  if (first < 0) return;
  const ls_program *p = g->invokes[g->nodes[first].invoke].program;
  int32_t point = g->nodes[first].slot, instance = p->points[point].instance, at_point = 0;
  if (p->points[point].kind != LS_POINT_OUTPUT) return;
  if (piece && (instance = maker_of(p, instance, piece)) < 0) return;
  if (!function_is_positionwise(p->instances[instance].function)) return;
  int32_t input = p->instances[instance].input, pass = ls__pass_of(last);
  if (g->now >= last - point + input) return;
  for (int32_t i = 0; i < g->count; i++) {
    const ls__node *node = &g->nodes[i], *at = node->edits >= 0 ? &g->nodes[g->nodes[node->edits].root] : node;
    if (!node->needed || node->done || (at->kind != LS__READ && at->kind != LS__WRITE)) continue;
    if (g->invokes[at->invoke].pass != pass) continue;
    if (g->invokes[at->invoke].program != p) return;
    if (at->slot == point && node->kind == LS__READ) at_point++;
    else if (at->slot >= input && at->slot <= point) return;
  }
  if (at_point != reads) return;
  g->narrow_instance = instance;
  g->narrow_item = item;
}

/* Cuts one position out of the second axis; every invoke's own index becomes 0. */
static ls_status uncut(const ls_value *argument, ls_value *out) {
  *out = *argument;
  ls_value_retain(out);
  return LS_OK;
}

static ls_status cut_position(ls_graph *g, int32_t item, const ls_value *argument, ls_value *out) {
  ls_tensor_info info;
  int64_t at = g->nodes[item].stream[position_in(&g->nodes[item])].as.i;
  if (argument->kind != LS_TENSOR || ls_tensor_describe(argument, &info) || info.dims < 3) return uncut(argument, out);
  int64_t from = at < 0 ? at + info.shape[1] : at;
  if (from < 0 || from >= info.shape[1]) return uncut(argument, out); /* the indexing nodes will say so */
  ls_value cut[8] = {{.kind = LS_SLICE}, {0}, {0}, {0}, {.kind = LS_SLICE}, {.kind = LS_INT, .as.i = from},
                     {.kind = LS_INT, .as.i = from + 1}, {0}}, made;
  ls_status status = ls__index_get(argument, cut, 8, &made);
  if (status) return status;
  *out = made;
  const ls_value *piece;
  int64_t time = g->nodes[g->nodes[rows_under(g, item, &piece)].stream[0].aux].time;
  for (int32_t i = 0; i < g->count; i++) {
    if (!g->nodes[i].needed || g->nodes[i].done || g->nodes[i].kind != LS__READ || g->nodes[i].time != time) continue;
    int32_t own = position_of(g, i);
    if (own >= 0) g->nodes[own].stream[position_in(&g->nodes[own])].as.i = 0;
  }
  return LS_OK;
}

/* ---- the plan ------------------------------------------------------------------------------------------------------ */

void ls__narrow_plan(ls_graph *g) {
  g->narrow_instance = -1;
  int64_t last = g->ordered ? g->nodes[g->order[g->ordered - 1]].time : -1;
  bool one = g->invoke_count == 1 && g->invokes[0].kind == LS_INVOKE_WHOLE && !g->invokes[0].steps && !g->gradients;
  for (int32_t i = 0; i < g->count; i++) {
    const ls__node *node = &g->nodes[i];
    if (!node->needed || node->done) continue;
    if (node->kind == LS__CALL) narrow_call(g, i);
    else if (one && node->kind == LS__READ && node->time == last) narrow_read(g, i, g->invokes[0].program);
  }
  if (g->invoke_count > 1 && !g->gradients) narrow_invokes(g, last);
  if (g->run) {
    g->run->narrow_instance = g->narrow_instance;
    g->run->narrow_item = g->narrow_item;
  }
}

/* ---- cutting ------------------------------------------------------------------------------------------------------- */

static const ls_value nothing = {.kind = LS_NONE};

ls_status ls__narrow_cut(ls_graph *g, int32_t item, const ls_value *argument, ls_value *out) {
  ls__node *node = &g->nodes[item];
  ls_tensor_info info;
  ls_value cut[LS__LOCAL];
  int32_t axis = 0, n = 0;
  const ls_value *piece;
  if (rows_under(g, item, &piece) >= 0) return cut_position(g, item, argument, out);
  if (node->n > LS__LOCAL / 4 || argument->kind != LS_TENSOR || ls_tensor_describe(argument, &info)) return uncut(argument, out);
  for (int32_t i = 1; i < node->n; i++, axis++) {
    const ls_value *at = &node->stream[i];
    if (axis >= info.dims - 1) return uncut(argument, out); /* the last axis is the function's own */
    cut[n++] = (ls_value){.kind = LS_SLICE};
    if (at->kind == LS_SLICE) {
      memcpy(cut + n, at + 1, 3 * sizeof *cut);
      i += 3;
    } else {
      int64_t from = at->as.i < 0 ? at->as.i + info.shape[axis] : at->as.i;
      if (from < 0 || from >= info.shape[axis]) return uncut(argument, out); /* the indexing node will say so */
      cut[n] = (ls_value){.kind = LS_INT, .as.i = from};
      cut[n + 1] = (ls_value){.kind = LS_INT, .as.i = from + 1};
      cut[n + 2] = nothing;
    }
    n += 3;
  }
  ls_value made;
  ls_status status = ls__index_get(argument, cut, n, &made);
  if (status) return status;
  *out = made;
  for (int32_t i = 1; i < node->n; i++) {
    if (node->stream[i].kind == LS_INT) {
      node->stream[i].as.i = 0;
    } else {
      for (int32_t k = 1; k <= 3; k++) node->stream[i + k] = nothing;
      i += 3;
    }
  }
  return LS_OK;
}
