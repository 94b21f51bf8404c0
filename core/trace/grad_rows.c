/* Gradients of rows that became another tensor. Where an invoke sets or edits its rows of a tensor that several invokes share, the run goes on
   with another tensor, or with another version of it. Alone, the other invokes would still have the tensor before, so all uses of their rows
   lead there in autograd's graph, and their gradients are taken there. */
#include <stdlib.h>
#include "trace/trace.h"

/* A tensor that became another, since an invoke has set or edited its rows. The three values are places in autograd's graph
   (ls__tensor_place). */
struct ls__split {
  int32_t invoke;          /* whose rows became others */
  int32_t rows;            /* where `part` is rows of a value at a point: the node that takes them; else -1 */
  ls_value before, fresh;  /* until an edit has ended, `fresh` is the tensor itself */
  ls_value part;           /* where the invoke has set its rows: what it set */
};

/* Whose rows became others: those of an invoke, or one of these. */
enum { NOBODY = -1, UNKNOWN = -2 };

static void drop(struct ls__split *split) {
  ls_value_release(&split->before);
  ls_value_release(&split->fresh);
  ls_value_release(&split->part);
}

void ls__grad_rows_free(ls_trace *t) {
  for (int32_t i = 0; i < t->run.split_count; i++) drop(&t->run.splits[i]);
  free(t->run.splits);
  t->run.splits = NULL;
  t->run.split_count = t->run.split_room = t->run.moved_count = 0;
}

static ls_status add(ls_trace *t, const struct ls__split *split) {
  if (t->run.split_count == t->run.split_room) {
    int32_t room = t->run.split_room ? 2 * t->run.split_room : 8;
    struct ls__split *bigger = realloc(t->run.splits, sizeof *bigger * (size_t)room);
    if (!bigger) return ls__fail(LS_ERROR_MEMORY, "out of memory for the rows of several invokes");
    t->run.splits = bigger;
    t->run.split_room = room;
  }
  t->run.splits[t->run.split_count++] = *split;
  return LS_OK;
}

/* ---- rows that an invoke sets ----------------------------------------------------------------------------------- */

/* Finds where the gradient of `part` is taken, which an invoke puts into the rows of a batch. Where it is itself rows of a value at a point,
   it is that value, and `rows` becomes the node that takes them. */
static ls_status place_of_part(ls_trace *t, const ls_value *part, int32_t *rows, ls_value *place) {
  for (int32_t i = 0; i < t->owner.nodes.count; i++) {
    if (!t->run.nodes[i].done || t->run.values[i].as.p != part->as.p || t->run.values[i].kind != LS_TENSOR) continue;
    if ((*rows = ls__rows_node(t, i)) < 0) continue;
    const ls_value *whole = ls__rows_whole(t, i);
    if (whole->kind == LS_TENSOR) return ls__tensor_place(whole->as.p, place);
  }
  *rows = -1;
  return ls__tensor_place(part->as.p, place);
}

ls_status ls__grad_split(ls_trace *t, int32_t invoke, const ls_value *before, const ls_value *fresh, const ls_value *part) {
  struct ls__split split = {.invoke = invoke, .before = *before};
  ls_status status = ls__tensor_place(fresh->as.p, &split.fresh);
  if (status || !split.fresh.kind) return status;
  ls_value_retain(&split.before);
  if (!(status = place_of_part(t, part, &split.rows, &split.part))) status = add(t, &split);
  if (status) drop(&split);
  return status;
}

/* ---- rows that an invoke edits ------------------------------------------------------------------------------------ */

ls_status ls__grad_moved(ls_trace *t, void *old, const ls_value *fresh) {
  for (int32_t i = t->run.split_count - t->run.moved_count; i < t->run.split_count; i++)
    if (t->run.splits[i].fresh.as.p == fresh->as.p) return LS_OK;
  struct ls__split split = {.invoke = UNKNOWN, .rows = -1};
  ls_status status = ls__tensor_place(old, &split.before);
  if (status || !split.before.kind) return status;
  split.fresh = *fresh;
  ls_value_retain(&split.fresh);
  if ((status = add(t, &split))) drop(&split);
  else t->run.moved_count++;
  return status;
}

/* Returns the invoke in whose rows the value of node `id` lies; UNKNOWN where there is none, or where that cannot be told. `rows` becomes the
   largest value on the way there that is a tensor. */
static int32_t owner_of(const ls_trace *t, int32_t id, const ls_value **rows) {
  for (; id >= 0; id = ls__trace_above(t, id)) {
    if (t->run.values[id].kind == LS_TENSOR) *rows = &t->run.values[id];
    const ls__node *node = &t->owner.nodes.at[id];
    if (node->kind == LS__ROWS) return ls__rows_all(t, node->invoke) ? UNKNOWN : node->invoke;
  }
  return UNKNOWN;
}

/* Finishes the note of a tensor that was moved for an edit; whether the note is of use. */
static ls_status finish(struct ls__split *split, int32_t owner, const ls_value *region, bool *useful) {
  ls_value place;
  *useful = false;
  ls_status status = ls__tensor_divide(split->fresh.as.p, split->before.as.p, region ? region->as.p : NULL);
  if (!status) status = ls__tensor_place(split->fresh.as.p, &place);
  if (status) return status;
  ls__replace(&split->fresh, place);
  split->invoke = owner;
  *useful = place.kind && !ls__tensor_same_place(place.as.p, split->before.as.p);
  return LS_OK;
}

ls_status ls__grad_edited(ls_trace *t, int32_t edit, const ls_value *changed) {
  int32_t first = t->run.split_count - t->run.moved_count, count = t->run.split_count, kept = first, owner = NOBODY;
  if (!t->run.moved_count) return LS_OK;
  const ls_value *region = changed, *rows = changed;
  if (changed) {
    const ls__node *node = edit < 0 ? NULL : ls__seen(t, edit);
    owner = node && ls__node_edits(node, 1) < 0 ? owner_of(t, node->edits, &rows) : UNKNOWN;
    if (node && node->edits >= 0 && changed == &t->run.values[node->edits]) region = rows;
  }
  ls_status status = LS_OK;
  t->run.moved_count = 0;
  for (int32_t i = first; i < count; i++) {
    struct ls__split split = t->run.splits[i];
    bool useful = false;
    if (!status && owner != UNKNOWN) status = finish(&split, owner, region, &useful);
    if (useful) t->run.splits[kept++] = split;
    else drop(&split);
  }
  t->run.split_count = kept;
  return status;
}

/* ---- where gradients are taken -------------------------------------------------------------------------------------- */

const ls_value *ls__grad_home(const ls_trace *t, int32_t of, const ls_value *tensor, int32_t *rows) {
  const ls_value *ignored = NULL;
  int32_t invoke = owner_of(t, of, &ignored);
  for (int32_t i = t->run.split_count - t->run.moved_count - 1; i >= 0; i--) {
    const struct ls__split *split = &t->run.splits[i];
    if (!ls__tensor_same_place(split->fresh.as.p, tensor->as.p)) continue;
    bool own = split->invoke == invoke;
    if (invoke == UNKNOWN && split->invoke != NOBODY) break;
    const ls_value *home = own ? &split->part : &split->before;
    if (!home->kind) break;
    tensor = home;
    if (!own) continue;
    *rows = split->rows;
    invoke = split->rows >= 0 ? t->owner.nodes.at[split->rows].invoke : UNKNOWN;
  }
  return tensor;
}
