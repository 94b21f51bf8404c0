/* The rows of an invoke: the part of a value that the invoke's body sees, where the value has the rows of several invokes, and the way back
   when the body sets a new value. A module declares the axis of the rows for each point (0 by default); it is not guessed from sizes. */
#include <stdio.h>
#include <string.h>
#include "trace/trace.h"

bool ls__rows_all(const ls_trace *t, int32_t invoke) {
  const ls__running_invoke *running = &t->run.invokes[invoke];
  return t->invokes[invoke].kind != LS_INVOKE_ROWS || (running->first == 0 && running->rows == t->run.rows);
}

bool ls__rows_several(const ls_trace *t) {
  int32_t with_rows = 0;
  for (int32_t i = 0; i < t->invoke_count; i++) with_rows += t->invokes[i].kind == LS_INVOKE_ROWS;
  return with_rows > 1;
}

/* The value of node `id` is an invoke's rows, or an element, of a value at a point. Returns the node that reads or writes the whole value
   at this point, or else the node behind which the way there ends. */
static int32_t read_of(const ls_trace *t, int32_t id) {
  const ls__node *nodes = t->owner.nodes.at;
  while ((nodes[id].kind == LS__ROWS || nodes[id].kind == LS__GETITEM) && nodes[id].stream[0].kind == LS_NODE) id = nodes[id].stream[0].aux;
  return id;
}

int32_t ls__rows_node(const ls_trace *t, int32_t id) {
  const ls__node *nodes = t->owner.nodes.at;
  while (nodes[id].kind == LS__GETITEM && nodes[id].stream[0].kind == LS_NODE && t->run.values[nodes[id].stream[0].aux].kind != LS_TENSOR)
    id = nodes[id].stream[0].aux;
  return nodes[id].kind == LS__ROWS && !ls__rows_all(t, nodes[id].invoke) ? id : -1;
}

/* ---- where the rows are ----------------------------------------------------------------------------------------- */

/* Returns the name under which a module declares the axis of the rows at the point that `read` reads or writes. `module` becomes the module
   that the point belongs to. */
static const char *point_of(const ls_trace *t, const ls__node *read, const ls_module **module) {
  ls__point_info point = ls__trace_point(t, read);
  *module = point.module;
  return point.kind == LS_POINT_INPUT ? "input" : point.kind == LS_POINT_OUTPUT ? "output" : point.tap;
}

typedef struct where {
  ls_trace *t;
  int32_t invoke;           /* the invoke whose rows are meant */
  const ls_module *module;
  const char *point;        /* the name of the point: "output", "input", that of a tap, or "generator.output" */
  int32_t axis, first, rows, all;
  bool set;                 /* whether rows are put into the value at a point, and not into a gradient */
} where;

int32_t ls__rows_element(const ls_value *of, const ls_value *key) {
  int64_t i = key->kind == LS_INT ? key->as.i : key->kind == LS_STRING ? ls_seq_find(of, key->as.s) : -1;
  if (i < 0 && key->kind == LS_INT) i += ls_seq_length(of);
  return i >= 0 && i < ls_seq_length(of) ? (int32_t)i : -1;
}

/* `w` says where rows are in the sequence `of`. Returns the same for the element number `i`: a module may declare an axis for a field. */
static where inside(const where *w, const ls_value *of, int32_t i) {
  where piece = *w;
  const char **keys = ls__seq_keys(of);
  char name[128];
  if (!keys || !w->module) return piece;
  snprintf(name, sizeof name, "%s.%s", w->point, keys[i]);
  piece.axis = ls__module_axis(w->module, name, w->axis);
  return piece;
}

/* Returns where the rows of an invoke are in the value of node `id`, which is the rows, or an element of them, or a write. */
static where where_of(ls_trace *t, int32_t id) {
  const ls__node *nodes = t->owner.nodes.at, *node = ls__seen(t, id);
  if (node->kind == LS__GETITEM && node->n == 2 && node->stream[0].kind == LS_NODE) {
    const ls_value *of = &t->run.values[node->stream[0].aux];
    where w = where_of(t, node->stream[0].aux);
    ls_value key = node->stream[1].kind == LS_NODE ? t->run.values[node->stream[1].aux] : node->stream[1];
    int32_t i = of->kind == LS_TUPLE || of->kind == LS_STRUCT ? ls__rows_element(of, &key) : -1;
    return i < 0 ? w : inside(&w, of, i);
  }
  const ls__node *read = &nodes[read_of(t, id)];
  const ls__running_invoke *running = &t->run.invokes[node->invoke];
  where w = {t, node->invoke, NULL, "generator.output", 0, running->first, running->rows, t->run.rows, false};
  if (read->kind != LS__READ && read->kind != LS__WRITE) return w;
  w.point = point_of(t, read, &w.module);
  w.axis = ls__module_axis(w.module, w.point, 0);
  return w;
}

static ls_status no_rows(void) {
  return ls__fail(LS_ERROR_SHAPE, "the rows of one invoke cannot be told apart here; read or set this point in an invoke without "
                                  "input, which sees all of them");
}

int32_t ls_trace_token_axis(const ls_value *value, int32_t *invoke, int32_t *step) {
  const ls_trace *t = ls__trace_of(value);
  if (!t || !t->owner.open || !invoke || !step) return -1;
  const ls__node *node = &t->owner.nodes.at[value->aux];
  const ls_value *key = NULL;
  int depth = 0;
  for (; node->kind == LS__ROWS || node->kind == LS__GETITEM; node = &t->owner.nodes.at[node->stream[0].aux]) {
    if (node->stream[0].kind != LS_NODE) return -1;
    if (node->kind == LS__ROWS) continue;
    if (node->n != 2 || t->owner.nodes.kinds[node->stream[0].aux] == LS_TENSOR) return -1;
    if (!key) key = &node->stream[1];
    depth++;
  }
  if (node->kind != LS__READ) return -1;
  const ls_module *m;
  const char *point = point_of(t, node, &m);
  bool is_input = ls__trace_point(t, node).kind == LS_POINT_INPUT;
  if (depth > (is_input ? 2 : 1)) return -1; /* the pair of arguments has two levels, an output one: the next takes a row */
  *invoke = node->invoke;
  *step = node->step;
  char name[160];
  snprintf(name, sizeof name, "tokens of %s", point);
  int32_t axis = ls__module_axis(m, name, 1), source = ls__module_axis(m, "sequence", 0);
  snprintf(name, sizeof name, "sequence of %s", point);
  source = ls__module_axis(m, name, source);
  if (key && (key->kind == LS_STRING || key->kind == LS_INT)) { /* an argument, or an element of the output, may be declared by itself */
    char number[24];
    snprintf(number, sizeof number, "%lld", (long long)key->as.i);
    const char *element = key->kind == LS_STRING ? key->as.s : number;
    snprintf(name, sizeof name, "tokens of %s.%s", point, element);
    axis = ls__module_axis(m, name, axis);
    snprintf(name, sizeof name, "sequence of %s.%s", point, element);
    source = ls__module_axis(m, name, source);
  }
  return axis < 0 ? -1 : axis + 256 * source;
}

/* ---- taking ----------------------------------------------------------------------------------------------------- */

/* Stands in a sequence for an element whose rows cannot be told apart: an error only where this element is used. */
static const ls_value untold = {.kind = LS_NONE, .aux = -77};

bool ls__rows_untold(const ls_value *v) {
  if (v->kind == LS_NONE) return v->aux == untold.aux;
  if (v->kind != LS_TUPLE && v->kind != LS_STRUCT) return false;
  for (int32_t i = 0; i < ls_seq_length(v); i++)
    if (ls__rows_untold(&ls__seq_items(v)[i])) return true;
  return false;
}

/* Whether all that uses the value of node `id`, a sequence, takes or sets elements of it. */
static bool only_elements(const ls_trace *t, int32_t id) {
  if (t->owner.nodes.at[id].saved) return false;
  for (int32_t i = id + 1; i < t->owner.nodes.count; i++) {
    const ls__node *node = ls__seen(t, i);
    bool element = node->kind == LS__GETITEM || node->kind == LS__SETITEM;
    for (int32_t k = 0; k < node->n; k++)
      if (node->stream[k].kind == LS_NODE && node->stream[k].aux == id && (k || !element)) return false;
  }
  return true;
}

ls_status ls__rows_told(const ls_trace *t, int32_t id, const ls_value *v) {
  return !ls__rows_untold(v) || (v->kind != LS_NONE && only_elements(t, id)) ? LS_OK : no_rows();
}

static ls_status take(const where *w, const ls_value *whole, int depth, ls_value *out) {
  if (whole->kind == LS_TUPLE || whole->kind == LS_STRUCT) {
    const char **keys = ls__seq_keys(whole);
    int32_t length = ls_seq_length(whole);
    ls_value made;
    ls_status status = ls__seq_new(whole->kind, length, &made);
    if (status) return status;
    for (int32_t i = 0; i < length && !status; i++) {
      where piece = inside(w, whole, i);
      if (keys) ls__seq_keys(&made)[i] = ls__text_retain(keys[i]);
      status = take(&piece, &ls__seq_items(whole)[i], depth + 1, &ls__seq_items(&made)[i]);
    }
    if (status) ls_value_release(&made);
    else *out = made;
    return status;
  }
  if (whole->kind != LS_TENSOR) {
    *out = *whole;
    ls_value_retain(out);
    return LS_OK;
  }
  ls_tensor_info info;
  ls_status status = ls_tensor_describe(whole, &info);
  if (status) return status;
  whole = ls__twins_home(w->t, whole, w->invoke);
  if (w->axis >= 0 && w->axis < info.dims && info.shape[w->axis] == w->all) {
    status = ls__tensor_narrow(whole->as.p, w->axis, w->first, w->rows, out);
    if (status || info.strides[w->axis] || w->rows == w->all || !info.elements) return status;
    if ((status = ls__twins_common(w->t, out))) ls_value_release(out);
    return status;
  }
  if (!depth) return no_rows();
  *out = untold;
  return LS_OK;
}

ls_status ls__rows_take(ls_trace *t, int32_t id, const ls_value *whole, ls_value *out) {
  const ls__node *nodes = t->owner.nodes.at;
  int32_t rows = id;
  while (nodes[rows].kind == LS__GETITEM) rows = nodes[rows].stream[0].aux;
  if (ls__rows_all(t, nodes[rows].invoke)) {
    *out = *whole;
    ls_value_retain(out);
    return LS_OK;
  }
  where w = where_of(t, id);
  ls_tensor_info info;
  if (nodes[nodes[rows].stream[0].aux].kind == LS__TEXT && !ls_tensor_describe(whole, &info) && info.dims && info.shape[0] < w.all) {
    int64_t texts = info.shape[0]; /* a beam search runs several rows for each text, so it returns fewer texts than it has rows */
    w.first = (int32_t)(w.first * texts / w.all);
    w.rows = (int32_t)(w.rows * texts / w.all);
    w.all = (int32_t)texts;
  }
  return take(&w, whole, 0, out);
}

/* Returns the value at a point, or the element of it, that the value of node `id` is the rows of. Where the rows of other invokes were set
   since, it may be a value that was at the point before. */
ls_value *ls__rows_whole(ls_trace *t, int32_t id) {
  const ls__node *node = ls__seen(t, id);
  ls_value *own = &t->run.values[id];
  if (node->kind != LS__ROWS && (node->kind != LS__GETITEM || node->n != 2)) return own;
  if (node->stream[0].kind != LS_NODE) return own;
  ls_value *of = ls__rows_whole(t, node->stream[0].aux);
  if (node->kind == LS__GETITEM) {
    if (of->kind != LS_TUPLE && of->kind != LS_STRUCT) return own;
    ls_value key = node->stream[1].kind == LS_NODE ? t->run.values[node->stream[1].aux] : node->stream[1];
    int32_t i = ls__rows_element(of, &key);
    if (i < 0) return own;
    of = &ls__seq_items(of)[i];
  }
  int32_t rows = ls__rows_node(t, id);
  return rows < 0 ? of : ls__twins_home(t, of, t->owner.nodes.at[rows].invoke);
}

/* ---- putting back ----------------------------------------------------------------------------------------------- */

/* Sets what is no tensor, which is the same for all rows. */
static ls_status put_other(const where *w, ls_value *whole, const ls_value *part) {
  bool same = whole->kind == part->kind && (part->kind == LS_FLOAT ? whole->as.f == part->as.f : part->kind == LS_STRING
              ? !strcmp(whole->as.s, part->as.s) : whole->as.i == part->as.i);
  if (w->set && whole->kind && !same && !ls__is_sequence(part->kind))
    return ls__fail(LS_ERROR_SHAPE, "among several invokes only tensors can be set: a part of this value that is no tensor is the same for all");
  ls_value fresh = *part;
  ls_value_retain(&fresh);
  ls__replace(whole, fresh);
  return LS_OK;
}

static ls_status put(const where *w, ls_value *whole, const ls_value *part) {
  ls_value fresh;
  if (part->kind == LS_TUPLE || part->kind == LS_STRUCT) {
    const char **keys = ls__seq_keys(part);
    int32_t length = ls_seq_length(part);
    /* the model has computed no value here, since the invokes together set all rows; the other invokes add their rows later */
    if (!whole->kind) {
      ls_status status = ls__seq_new(part->kind, length, &fresh);
      if (status) return status;
      for (int32_t i = 0; keys && i < length; i++) ls__seq_keys(&fresh)[i] = ls__text_retain(keys[i]);
      ls__replace(whole, fresh);
    }
    ls_status status = LS_OK;
    for (int32_t i = 0; i < length && !status; i++) {
      where piece = inside(w, part, i);
      status = put(&piece, &ls__seq_items(whole)[i], &ls__seq_items(part)[i]);
    }
    return status;
  }
  if (part->kind != LS_TENSOR) return put_other(w, whole, part);
  if (w->axis < 0) return no_rows();
  ls_tensor_info info;
  ls_status status = whole->kind == LS_TENSOR ? ls_tensor_describe(whole, &info) : LS_OK;
  if (status) return status;
  if (whole->kind == LS_TENSOR && (w->axis >= info.dims || info.shape[w->axis] != w->all)) return no_rows();
  if ((status = ls_tensor_describe(part, &info))) return status;
  if (w->axis >= info.dims || info.shape[w->axis] != w->rows)
    return ls__fail(LS_ERROR_SHAPE, "among several invokes the value that an invoke sets must have the invoke's %d row%s on "
                                    "axis %d; this one has %lld",
                    w->rows, w->rows == 1 ? "" : "s", w->axis,
                    w->axis < info.dims ? (long long)info.shape[w->axis] : 0LL);
  bool in_place = w->set && ls__twins_unread(w->t, whole), notes = w->set && w->t->gradients;
  ls_value was = {0};
  if (notes && whole->kind == LS_TENSOR && (status = ls__tensor_place(whole->as.p, &was))) return status;
  status = ls__tensor_with_rows(whole->kind == LS_TENSOR ? whole->as.p : NULL, part->as.p, w->axis, w->first, w->all, in_place, &fresh);
  if (!status) {
    if (w->set) status = ls__twins_made(w->t, w->invoke, whole, &fresh, part, w->axis);
    if (!status && notes) status = ls__grad_split(w->t, w->invoke, &was, &fresh, part);
    if (status) ls_value_release(&fresh);
    else ls__replace(whole, fresh);
  }
  ls_value_release(&was);
  return status;
}

ls_status ls__rows_put(ls_trace *t, int32_t id, ls_value *whole, const ls_value *part) {
  where w = where_of(t, id);
  return put(&w, whole, part);
}

ls_status ls__rows_set(ls_trace *t, int32_t id, ls_value *whole, const ls_value *part) {
  where w = where_of(t, id);
  w.set = true;
  return put(&w, whole, part);
}

ls_status ls__rows_set_element(ls_trace *t, int32_t id, int32_t i, const ls_value *whole, const ls_value *part, ls_value *out) {
  where of = where_of(t, id), w = inside(&of, whole, i);
  w.set = true;
  ls_status status = put(&w, &ls__seq_items(whole)[i], part);
  return status ? status : take(&w, &ls__seq_items(whole)[i], 1, out);
}

/* ---- all rows --------------------------------------------------------------------------------------------------- */

static ls_status keeps_rows(const where *w, const ls_value *old, const ls_value *fresh) {
  ls_status status = LS_OK;
  if (fresh->kind == LS_TUPLE || fresh->kind == LS_STRUCT) {
    for (int32_t i = 0; i < ls_seq_length(fresh) && !status; i++) {
      where piece = inside(w, fresh, i);
      const ls_value *before = old->kind == fresh->kind ? &ls__seq_items(old)[i] : old;
      status = keeps_rows(&piece, before, &ls__seq_items(fresh)[i]);
    }
    return status;
  }
  ls_tensor_info was, is;
  if (w->axis < 0 || fresh->kind != LS_TENSOR || (status = ls_tensor_describe(fresh, &is))) return status;
  if (old->kind == LS_TENSOR) {
    if ((status = ls_tensor_describe(old, &was))) return status;
    if (w->axis >= was.dims || was.shape[w->axis] != w->all) return LS_OK;
  }
  if (w->axis < is.dims && is.shape[w->axis] == w->all) return LS_OK;
  return ls__fail(LS_ERROR_SHAPE, "among several invokes the value that an invoke without input sets must have the %d rows of all of them on "
                                  "axis %d; this one has %lld", w->all, w->axis, w->axis < is.dims ? (long long)is.shape[w->axis] : 0LL);
}

ls_status ls__rows_keep(ls_trace *t, int32_t id, int32_t i, const ls_value *old, const ls_value *fresh) {
  int32_t invoke = t->owner.nodes.at[read_of(t, id)].invoke, inputs = 0;
  if (invoke < 0 || t->invokes[invoke].kind != LS_INVOKE_ALL) return LS_OK;
  for (int32_t k = 0; k < t->invoke_count; k++)
    inputs += t->invokes[k].kind != LS_INVOKE_ALL && t->plan.invokes[k].pass == ls__pass_of(t->run.now);
  if (inputs < 2) return LS_OK;
  where w = where_of(t, id);
  if (i < 0) return keeps_rows(&w, old, fresh);
  where piece = inside(&w, old, i);
  return keeps_rows(&piece, &ls__seq_items(old)[i], fresh);
}
