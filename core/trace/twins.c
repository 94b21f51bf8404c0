/* Rows that lie in two places. Where an invoke sets its rows of a value at a point, the model goes on with a copy of the value, in which these
   rows are new; the rows of the other invokes are then in the copy and in the value before, which the model may use in another way, and the
   value set is in the copy too. Alone, each of these would be one tensor. So the two places are kept as twins: a change in place of one of
   them changes the other. The reverse, one place for the rows of several invokes, is there after expand: an invoke cannot change it. */
#include <stdlib.h>
#include "trace/trace.h"

/* The same rows in two tensors: `b` has the `rows` rows from `first` on of a value at a point, `a` is the other place. */
struct ls__twins {
  ls_value a, b;
  int32_t axis, first, rows;
  ls_value view; /* where `a` has rows of a view that autograd follows: the place of the view; else LS_NONE */
};

/* At the point where the run is paused, an invoke has set its rows: `fresh` is the value `before` with these rows, and perhaps those of
   other invokes, exchanged. */
struct ls__made {
  ls_value fresh, before;
  int32_t invoke;
};

static void drop(struct ls__twins *twins) {
  ls_value_release(&twins->a);
  ls_value_release(&twins->b);
  ls_value_release(&twins->view);
}

/* Whether a change of a place of the twins `i` can be seen: where others than twins have tensors on its memory, or other twins lead on. */
static bool matters(const ls_trace *t, int32_t i, const ls_value *place) {
  int64_t own = 0;
  for (int32_t k = 0; k < t->run.twin_count; k++) {
    bool a = ls__tensor_shares(place->as.p, t->run.twins[k].a.as.p), b = ls__tensor_shares(place->as.p, t->run.twins[k].b.as.p);
    if (k != i && (a || b)) return true;
    own += a + b;
  }
  return ls__tensor_sharers(place->as.p) > own;
}

/* Releases the twins of which one can be seen no more. */
static void prune(ls_trace *t) {
  for (int32_t i = 0; t->run.twins && i < t->run.twin_count;) {
    struct ls__twins *one = &t->run.twins[i];
    if (matters(t, i, &one->a) && matters(t, i, &one->b)) {
      i++;
      continue;
    }
    drop(one);
    *one = t->run.twins[--t->run.twin_count];
    i = 0; /* other twins may have led here */
  }
}

static struct ls__twins *new_twins(ls_trace *t) {
  if (t->run.twin_count == t->run.twin_room) {
    int32_t room = t->run.twin_room ? 2 * t->run.twin_room : 8;
    struct ls__twins *bigger = realloc(t->run.twins, sizeof *bigger * (size_t)room);
    if (!bigger) {
      ls__fail(LS_ERROR_MEMORY, "out of memory for the rows of several invokes");
      return NULL;
    }
    t->run.twins = bigger;
    t->run.twin_room = room;
  }
  return &t->run.twins[t->run.twin_count++];
}

/* Adds as twins the rows of `a` from `first` on and those of `b` from `at` on. `view` is the place of `a` where that is a view, else
   LS_NONE. */
static ls_status add(ls_trace *t, const ls_value *a, int32_t axis, int32_t first, int32_t rows, const ls_value *b, int32_t at,
                     const ls_value *view) {
  if (rows <= 0) return LS_OK;
  struct ls__twins twins = {.axis = axis, .first = at, .rows = rows}, *place;
  ls_status status = ls__tensor_narrow(a->as.p, axis, first, rows, &twins.a);
  if (status) return status;
  if ((status = ls__tensor_narrow(b->as.p, axis, at, rows, &twins.b))) {
    ls_value_release(&twins.a);
    return status;
  }
  if (!(place = new_twins(t))) {
    drop(&twins);
    return LS_ERROR_MEMORY;
  }
  twins.view = *view;
  ls_value_retain(view);
  *place = twins;
  return LS_OK;
}

/* Whether the place `b` of twins is just their rows of `value`, and not only in its memory, as where `value` is a slice. */
static bool is_rows_of(const struct ls__twins *twins, const ls_value *value) {
  ls_tensor_info info;
  ls_value rows;
  if (!ls__tensor_shares(twins->b.as.p, value->as.p) || ls_tensor_describe(value, &info)) return false;
  if (twins->axis >= info.dims || info.shape[twins->axis] < twins->first + twins->rows) return false;
  if (ls__tensor_narrow(value->as.p, twins->axis, twins->first, twins->rows, &rows)) return false;
  bool same = ls__tensor_layout(rows.as.p) == ls__tensor_layout(twins->b.as.p);
  ls_value_release(&rows);
  return same;
}

/* The rows of an invoke are set in `fresh`, which is `before` or a copy of it. What is a twin of other rows of `before` becomes one of
   `fresh`. */
static ls_status go_on(ls_trace *t, const ls_value *before, const ls_value *fresh, const ls__running_invoke *own) {
  int32_t count = t->run.twin_count, end = own->first + own->rows;
  bool same = before->as.p == fresh->as.p;
  ls_status status = LS_OK;
  for (int32_t i = 0; i < count && !status; i++) {
    struct ls__twins old = t->run.twins[i];
    if (!is_rows_of(&old, before) || (same && (old.first >= end || old.first + old.rows <= own->first))) continue;
    int32_t left = own->first - old.first, right = old.first + old.rows - end;
    if (left > old.rows) left = old.rows;
    if (right > old.rows) right = old.rows;
    status = add(t, &old.a, old.axis, 0, left, fresh, old.first, &old.view);
    if (!status) status = add(t, &old.a, old.axis, old.rows - right, right, fresh, old.first + old.rows - right, &old.view);
    if (!same || status) continue;
    drop(&old);
    t->run.twins[i--] = t->run.twins[--count];
    t->run.twins[count] = t->run.twins[--t->run.twin_count];
  }
  return status;
}

bool ls__twins_unread(const ls_trace *t, const ls_value *value) {
  int64_t records = 0, views = 0;
  for (int32_t i = 0; value->kind == LS_TENSOR && i < t->run.made_count; i++) records += t->run.made[i].fresh.as.p == value->as.p;
  if (!records) return false;
  for (int32_t i = 0; i < t->run.twin_count; i++)
    views += ls__tensor_shares(t->run.twins[i].a.as.p, value->as.p) + ls__tensor_shares(t->run.twins[i].b.as.p, value->as.p);
  return ls__tensor_holders(value->as.p) == 1 + records && ls__tensor_sharers(value->as.p) == 1 + views;
}

/* Whether something may yet be changed in place, so that it matters which tensors share memory. */
static bool may_change(const ls_trace *t) {
  return t->plan.edits || t->run.demand_open || ls__program_edits(ls__run_program(t->run.model));
}

/* Makes `view` the place of `tensor` where gradients are asked for and the tensor is a view that autograd follows; else LS_NONE. */
static ls_status view_of(const ls_trace *t, const ls_value *tensor, ls_value *view) {
  *view = (ls_value){0};
  ls_status status = t->gradients ? ls__tensor_place(tensor->as.p, view) : LS_OK;
  if (!status && view->kind && (!view->aux || view->as.p == tensor->as.p)) ls__replace(view, (ls_value){0});
  return status;
}

ls_status ls__twins_made(ls_trace *t, int32_t invoke, const ls_value *before, const ls_value *fresh, const ls_value *part, int32_t axis) {
  if (t->run.made_count == t->run.made_room) {
    int32_t room = t->run.made_room ? 2 * t->run.made_room : 8;
    struct ls__made *bigger = realloc(t->run.made, sizeof *bigger * (size_t)room);
    if (!bigger) return ls__fail(LS_ERROR_MEMORY, "out of memory for the rows of several invokes");
    t->run.made = bigger;
    t->run.made_room = room;
  }
  struct ls__made made = {.fresh = *fresh, .before = *before, .invoke = invoke};
  for (int32_t i = 0; before->as.p == fresh->as.p && i < t->run.made_count; i++)
    if (t->run.made[i].fresh.as.p == fresh->as.p) made.before = t->run.made[i].before;
  ls_value_retain(&made.fresh);
  ls_value_retain(&made.before);
  t->run.made[t->run.made_count++] = made;
  if (!may_change(t)) return LS_OK;
  const ls__running_invoke *own = &t->run.invokes[invoke];
  int32_t end = own->first + own->rows;
  ls_status status = before->kind == LS_TENSOR ? go_on(t, before, fresh, own) : LS_OK;
  ls_value view;
  if (!status && before->kind == LS_TENSOR && before->as.p != fresh->as.p && !(status = view_of(t, before, &view))) {
    status = add(t, before, axis, 0, own->first, fresh, 0, &view);
    if (!status) status = add(t, before, axis, end, t->run.rows - end, fresh, end, &view);
    ls_value_release(&view);
  }
  if (!status && !ls__own_foreign(t, part->as.p) && !(status = view_of(t, part, &view))) {
    status = add(t, part, axis, 0, own->rows, fresh, own->first, &view);
    ls_value_release(&view);
  }
  return status;
}

ls_value *ls__twins_home(const ls_trace *t, const ls_value *value, int32_t invoke) {
  for (int32_t i = t->run.made_count - 1; i >= 0; i--) {
    struct ls__made *made = &t->run.made[i];
    if (made->fresh.as.p != value->as.p) continue;
    for (int32_t k = 0; k <= i; k++)
      if (t->run.made[k].fresh.as.p == value->as.p && t->run.made[k].invoke == invoke) return (ls_value *)value;
    if (made->before.kind != LS_TENSOR) break;
    value = &made->before;
  }
  return (ls_value *)value;
}

/* Row `k` of one of the two places of twins. */
static ls_status row_of(const struct ls__twins *twins, const ls_value *place, int32_t k, ls_value *out) {
  if (twins->rows > 1) return ls__tensor_narrow(place->as.p, twins->axis, k, 1, out);
  *out = *place;
  ls_value_retain(out);
  return LS_OK;
}

/* Copies row `k` of twins, which was changed in place, to the other place: from `a` to `b` with `forward`. `out` becomes the row there. */
static ls_status follow(ls_trace *t, int32_t edit, int32_t i, int32_t k, bool forward, ls_value *out) {
  static const ls_value everything = {.kind = LS_ELLIPSIS};
  struct ls__twins *twins = &t->run.twins[i];
  ls_value *from = forward ? &twins->a : &twins->b, *to = forward ? &twins->b : &twins->a, row, changed, whole = {0}, view = twins->view;
  int32_t first = 0;
  ls_status status = row_of(twins, to, k, &row);
  if (status) return status;
  ls_value_retain(&view);
  if (edit < 0) status = ls__edit_protect(t, row.as.p);
  if (!status) status = ls__edit_prepare(t, edit, &row);
  ls_value_release(&row); /* the place may be another now */
  if (status || (status = row_of(twins, to, k, out))) {
    ls_value_release(&view);
    return status;
  }
  if (!(status = row_of(twins, from, k, &changed))) {
    status = ls__grad_from(t, &changed, twins->axis, twins->first + k, &whole, &first);
    if (!status && whole.kind) {
      ls_value_release(&changed);
      status = ls__tensor_narrow(whole.as.p, twins->axis, twins->first + k - first, 1, &changed);
    }
    if (!status) {
      status = ls__index_set(out, &everything, 1, &changed);
      ls_value_release(&changed);
    }
  }
  if (!status) status = ls__grad_followed(t, out, twins->axis, twins->first + k, &whole, forward ? NULL : &view);
  ls_value_release(&view);
  ls_value_release(&whole);
  if (status) ls_value_release(out);
  return status;
}

/* Makes the change of the tensor `changed` in the other places of its rows, from there in theirs, and so on. Only rows that have changed
   are copied: twins can lead back to rows whose change is still to come. `seen` has a byte for each row of the twins. */
static ls_status spread(ls_trace *t, int32_t edit, const ls_value *changed, uint8_t *seen) {
  ls_status status = LS_OK;
  uint8_t *own = seen;
  for (int32_t i = 0; i < t->run.twin_count && !status; own += t->run.twins[i++].rows) {
    const struct ls__twins *twins = &t->run.twins[i];
    if (!ls__tensor_overlaps(twins->a.as.p, changed->as.p) && !ls__tensor_overlaps(twins->b.as.p, changed->as.p)) continue;
    for (int32_t k = 0; k < twins->rows && !status; k++) {
      ls_value a, b = {0}, there;
      if (own[k]) continue;
      if ((status = row_of(twins, &twins->a, k, &a))) break;
      status = row_of(twins, &twins->b, k, &b);
      bool in_a = !status && ls__tensor_overlaps(a.as.p, changed->as.p), in_b = !status && ls__tensor_overlaps(b.as.p, changed->as.p);
      ls_value_release(&a);
      ls_value_release(&b);
      if (status || in_a == in_b) continue;
      own[k] = 1;
      if ((status = follow(t, edit, i, k, in_a, &there))) break;
      status = spread(t, edit, &there, seen);
      ls_value_release(&there);
    }
  }
  return status;
}

ls_status ls__twins_common(ls_trace *t, const ls_value *part) {
  for (int32_t i = 0; i < t->run.common_count; i++)
    if (ls__tensor_shares(t->run.common[i].as.p, part->as.p)) return LS_OK;
  ls_value *bigger = realloc(t->run.common, sizeof *bigger * (size_t)(t->run.common_count + 1));
  if (!bigger) return ls__fail(LS_ERROR_MEMORY, "out of memory for the rows of several invokes");
  t->run.common = bigger;
  bigger[t->run.common_count++] = *part;
  ls_value_retain(part);
  return LS_OK;
}

/* Fails where node `edit`, of an invoke that sees its own rows only, has changed rows of others too. */
static ls_status check_common(const ls_trace *t, int32_t edit, const ls_value *changed) {
  int32_t invoke = t->owner.nodes.at[edit].invoke;
  if (invoke >= 0 && ls__rows_all(t, invoke)) return LS_OK;
  for (int32_t i = 0; i < t->run.common_count; i++)
    if (ls__tensor_overlaps(t->run.common[i].as.p, changed->as.p))
      return ls__fail(LS_ERROR_SHAPE, "the rows of all invokes are one piece of memory here, as after expand, so that this edit would change "
                                      "them all; clone the value, edit the clone, and set it at its point");
  return LS_OK;
}

ls_status ls__twins_follow(ls_trace *t, int32_t edit, const ls_value *changed) {
  if (edit >= 0 && t->run.common_count) {
    ls_status status = check_common(t, edit, changed);
    if (status) return status;
  }
  size_t rows = 0;
  for (int32_t i = 0; i < t->run.twin_count; i++) rows += (size_t)t->run.twins[i].rows;
  if (!rows) return LS_OK;
  uint8_t *seen = calloc(rows, 1);
  if (!seen) return ls__fail(LS_ERROR_MEMORY, "out of memory for the rows of several invokes");
  ls_status status = spread(t, edit, changed, seen);
  free(seen);
  return status;
}

void ls__twins_each(ls_trace *t, void (*each)(void *context, ls_value *tensor), void *context) {
  for (int32_t i = 0; i < t->run.twin_count; i++) {
    each(context, &t->run.twins[i].a);
    each(context, &t->run.twins[i].b);
  }
  for (int32_t i = 0; i < t->run.made_count; i++) {
    if (t->run.made[i].fresh.kind == LS_TENSOR) each(context, &t->run.made[i].fresh);
    if (t->run.made[i].before.kind == LS_TENSOR) each(context, &t->run.made[i].before);
  }
  for (int32_t i = 0; i < t->run.common_count; i++) each(context, &t->run.common[i]);
}

void ls__twins_leave(ls_trace *t) {
  if (!t->run.made_count) return;
  for (int32_t i = 0; i < t->run.made_count; i++) {
    ls_value_release(&t->run.made[i].fresh);
    ls_value_release(&t->run.made[i].before);
  }
  t->run.made_count = 0;
  prune(t);
}

void ls__twins_free(ls_trace *t) {
  if (!t->run.twins && !t->run.made && !t->run.common) return;
  ls__twins_leave(t);
  for (int32_t i = 0; i < t->run.twin_count; i++) drop(&t->run.twins[i]);
  for (int32_t i = 0; i < t->run.common_count; i++) ls_value_release(&t->run.common[i]);
  free(t->run.twins);
  free(t->run.made);
  free(t->run.common);
  t->run.common = NULL;
  t->run.common_count = 0;
  t->run.twins = NULL;
  t->run.made = NULL;
  t->run.twin_count = t->run.twin_room = t->run.made_room = 0;
}
