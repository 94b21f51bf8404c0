/* Stored edits: they are recorded in a trace of their own, which does not run; its nodes are copied into every trace of the model. */
#include <stdlib.h>
#include "trace/trace.h"

int32_t ls_trace_count(ls_trace *t) { return t ? t->owner.nodes.count : -1; }

ls_program *ls_trace_program(ls_trace *t, int32_t node) {
  return t && node >= 0 && node < t->owner.nodes.count ? t->owner.nodes.at[node].program : NULL;
}

/* Returns the number of the point in the program `to` that has the name of the point `point` of the program `from`; -1: there is none. A name
   means the same in the copy of a model that a scan uses, whose modules are others. */
static int32_t same_point(ls_program *from, ls_program *to, int32_t point) {
  return from == to ? point : ls_program_find(to, ls_program_point_name(from, point));
}

/* Returns a copy of the arguments of `node`, with each node among them replaced by its copy in `t`: map[i] is the number of the copy of
   node i. Returns NULL when out of memory. */
static ls_value *translate(ls_trace *t, const ls__node *node, const int32_t *map) {
  ls_value *s = malloc(sizeof *s * (size_t)(node->n ? node->n : 1));
  for (int32_t k = 0; s && k < node->n; k++) {
    s[k] = node->stream[k];
    if (s[k].kind == LS_NODE) s[k] = (ls_value){.kind = LS_NODE, .aux = map[s[k].aux], .as.p = t};
  }
  return s;
}

/* Marks with LEFT_OUT the nodes that act in steps which the invoke does not have, and all that need their values: an edit that names steps of
   a generation does nothing where there are none. */
enum { LEFT_OUT = -2 };
static void leave_out(const ls_trace *t, const ls_trace *edits, int32_t invoke, int32_t *map) {
  int32_t count = edits->owner.nodes.count, steps = t->invokes[invoke].steps > 1 ? t->invokes[invoke].steps : 1;
  for (int32_t i = 0; i < count; i++) map[i] = 0;
  for (int32_t k = 0; k < 2 * count; k++) {
    int32_t i = k < count ? k : k - count;
    const ls__node *node = &edits->owner.nodes.at[i];
    bool out = node->step >= steps || map[i] == LEFT_OUT;
    for (int32_t a = 0; a < node->n && !out; a++) out = node->stream[a].kind == LS_NODE && map[node->stream[a].aux] == LEFT_OUT;
    if (!out && node->hook >= 0 && edits->hooks[node->hook].node >= 0) out = map[edits->hooks[node->hook].node] == LEFT_OUT;
    if (out) map[i] = LEFT_OUT;
  }
}

static ls_status copy_point(ls_trace *t, const ls_trace *edits, const ls__node *node, const ls_value *s, int32_t invoke,
                            int32_t step, int32_t *out) {
  int32_t point = same_point(edits->invokes[node->invoke].program, t->invokes[invoke].given, node->slot);
  ls_status status = LS_OK;
  if (point < 0) {
    ls__fail(LS_ERROR_UNREACHED, "a stored edit names a point that the model does not reach with this input");
    ls__fail_point(ls__trace_point_name(edits, node->invoke, node->slot));
    ls__fail_site(node->site, 0);
    return LS_ERROR_UNREACHED;
  }
  int32_t first = t->owner.nodes.count;
  ls_value read = {.aux = -1};
  status = node->kind == LS__WRITE ? ls_trace_write(t, invoke, step, point, &s[0], node->flag, node->site)
                                   : ls_trace_read(t, invoke, step, point, node->site, &read);
  for (int32_t i = first; i < t->owner.nodes.count; i++) t->owner.nodes.at[i].stored = 1;
  *out = read.aux;
  ls_value_release(&read);
  return status;
}

/* Copies a node whose value is the padding or the generated text of an invoke. The value of the copy is that of the invoke `invoke`; `out`
   becomes the number of the copy. */
static ls_status copy_of_invoke(ls_trace *t, const ls__node *node, int32_t invoke, int32_t step, int32_t *out) {
  ls_value made = {.aux = -1};
  ls_status status = node->kind == LS__TEXT ? ls_trace_text(t, invoke, node->site, &made)
                                            : ls_trace_pad(t, invoke, step, (int32_t)node->stream[0].as.i, node->site, &made);
  *out = made.aux;
  ls_value_release(&made);
  return status;
}

/* Copies a read or a replacement inside a call with points of its own; `hook` is the number of the copy of that call. */
static ls_status copy_inside(ls_trace *t, const ls__node *node, const ls_value *s, int32_t hook, int32_t *out) {
  ls_value read = {.aux = -1};
  ls_status status = node->kind == LS__PUT ? ls__hook_write(t, hook, node->slot, &s[0], node->site)
                                           : ls__hook_read(t, hook, node->slot, node->site, &read);
  *out = read.aux;
  ls_value_release(&read);
  return status;
}

/* Copies the begin of such a call, which is the copy of node `id`, and its result, the copy of the next node. */
static ls_status copy_hook(ls_trace *t, const ls__node *node, const ls_value *s, int32_t hook, int32_t *map) {
  ls_value result;
  ls_status status = ls__hook_call(t, hook, node->program, s, node->n, node->site, &result);
  if (status) return status;
  map[0] = result.aux - 1;
  map[1] = result.aux;
  ls_value_release(&result);
  return LS_OK;
}

static ls_status copy_other(ls_trace *t, const ls_trace *edits, int32_t id, const ls_value *s, int32_t invoke, int32_t *out) {
  const ls__node *node = &edits->owner.nodes.at[id];
  ls__node copy = ls__node_of(node->kind, node->site);
  bool in_body = node->kind == LS__HOST || node->kind == LS__GRAD || node->kind == LS__SETGRAD || node->kind == LS__BACKWARD;
  copy.invoke = in_body ? invoke : -1;
  copy.flag = node->flag;
  copy.op = node->op;
  copy.autograd = node->autograd;
  copy.program = node->program;
  return ls__trace_record(t, &copy, s, node->n, edits->owner.nodes.kinds[id], out);
}

ls_status ls_trace_include(ls_trace *t, ls_trace *edits, int32_t invoke, int32_t step, int32_t *map) {
  LS__NEED(t && edits && edits != t && map && invoke >= 0 && invoke < t->invoke_count && step >= -1);
  ls_status status = ls__trace_check_open(t);
  if (!status && !edits->kept) status = ls__trace_check_open(edits);
  if (step < 0) leave_out(t, edits, invoke, map);
  int32_t hooks = t->hook_count, begin = t->owner.nodes.count, made;
  for (int32_t i = 0; i < edits->hook_count && !status; i++) status = ls_trace_hook(t, edits->hooks[i].program, &made);
  for (int32_t i = 0; i < edits->owner.nodes.count && !status; i++) {
    const ls__node *node = &edits->owner.nodes.at[i];
    if (step < 0 && map[i] == LEFT_OUT) continue;
    ls_value *s = translate(t, node, map);
    if (!s) return ls__fail(LS_ERROR_MEMORY, "out of memory for the copy of a stored edit");
    int32_t at = step < 0 ? node->step : step;
    if (node->kind == LS__READ || node->kind == LS__WRITE) status = copy_point(t, edits, node, s, invoke, at, &map[i]);
    else if (node->kind == LS__PAD || node->kind == LS__TEXT) status = copy_of_invoke(t, node, invoke, at, &map[i]);
    /* a node that cuts out an invoke's rows needs no copy, since the copied read returns the rows of its invoke by itself */
    else if (node->kind == LS__SEE && node->flag) {} /* it was copied with its call */
    else if (node->kind == LS__SEE || node->kind == LS__PUT) status = copy_inside(t, node, s, hooks + node->hook, &map[i]);
    else if (node->hook >= 0) status = copy_hook(t, node, s, hooks + node->hook, &map[i]);
    else if (node->kind == LS__ROWS) map[i] = map[node->stream[0].aux];
    else status = copy_other(t, edits, i, s, invoke, &map[i]);
    free(s);
  }
  for (int32_t i = begin; i < t->owner.nodes.count && !status; i++)
    if (t->owner.nodes.at[i].hook >= 0) t->owner.nodes.at[i].stored = 1;
  return status;
}
