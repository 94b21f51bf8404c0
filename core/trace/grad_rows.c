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
  ls_value part;           /* where the invoke has set its rows: what it set; where an edit was copied to its rows: where it was made */
  bool shared;             /* whether `part` has the rows of all invokes, as `fresh` has */
  int32_t refused;         /* whether gradients of the invoke cannot be told here: one of REFUSED_*, or 0 */
};

/* Why gradients are refused: the tensor from which an edit was copied to the rows is not known; or the rows are a view there. */
enum { REFUSED_LOST = 1, REFUSED_VIEW = 2 };

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

ls_status ls__grad_untold(void) {
  return ls__fail(LS_ERROR_STATE, "this gradient cannot be told among several invokes: another invoke has set its rows of this value, and "
                                  "what was edited in place behind that is a view in the model; set the value at the point in place of the "
                                  "edit, or run this invoke in a trace of its own");
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

ls_status ls__grad_edited(ls_trace *t, int32_t of, const ls_value *changed) {
  int32_t first = t->run.split_count - t->run.moved_count, count = t->run.split_count, kept = first, owner = NOBODY;
  if (!t->run.moved_count) return LS_OK;
  const ls_value *region = changed, *rows = changed;
  if (changed) {
    owner = owner_of(t, of, &rows);
    region = rows;
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

/* ---- edits that are copied to another place of the rows -------------------------------------------------------------- */

typedef struct seek {
  const ls_value *row;
  int32_t axis, at, all; /* the row is number `at` of `all` */
  bool part;             /* whether views, as parts are of a larger tensor, count only where nothing else is found */
  ls_value found;
  bool view, several;
} seek;

/* Whether `tensor` has `all` rows on an axis and `row` is number `at` of them. */
static bool has_row(const ls_value *tensor, const ls_value *row, int32_t axis, int32_t at, int32_t all) {
  ls_tensor_info info;
  ls_value part;
  if (!ls__tensor_shares(tensor->as.p, row->as.p) || ls_tensor_describe(tensor, &info)) return false;
  if (axis >= info.dims || info.shape[axis] != all || ls__tensor_narrow(tensor->as.p, axis, at, 1, &part)) return false;
  bool same = ls__tensor_layout(part.as.p) == ls__tensor_layout(row->as.p);
  ls_value_release(&part);
  return same;
}

static void seek_one(void *context, ls_value *tensor) {
  seek *s = context;
  ls_value place;
  if (s->found.as.p == tensor->as.p || !has_row(tensor, s->row, s->axis, s->at, s->all)) return;
  if (ls__tensor_place(tensor->as.p, &place)) return;
  bool view = place.aux, first = !s->found.kind || (s->part && s->view && !view);
  if (first) {
    s->found = *tensor;
    s->view = view;
    s->several = false;
  } else if (!s->part || s->view == view) {
    s->several = s->several || !ls__tensor_same_place(s->found.as.p, tensor->as.p);
  }
  ls_value_release(&place);
}

/* Returns the invoke of which row `row` of the batch is; UNKNOWN where there is none. */
static int32_t invoke_of_row(const ls_trace *t, int32_t row) {
  for (int32_t i = 0; i < t->invoke_count; i++) {
    const ls__running_invoke *running = &t->run.invokes[i];
    if (t->invokes[i].kind != LS_INVOKE_ROWS || t->plan.invokes[i].pass != ls__pass_of(t->run.now)) continue;
    if (row >= running->first && row < running->first + running->rows) return i;
  }
  return UNKNOWN;
}

ls_status ls__grad_from(ls_trace *t, const ls_value *row, int32_t axis, int32_t at, ls_value *whole, int32_t *first) {
  *whole = (ls_value){0};
  *first = 0;
  int32_t invoke = invoke_of_row(t, at);
  if (!t->run.moved_count || invoke == UNKNOWN) return LS_OK;
  seek s = {.row = row, .axis = axis, .at = at, .all = t->run.rows};
  ls__edit_each(t, seek_one, &s);
  if (!s.found.kind) {
    *first = t->run.invokes[invoke].first;
    s = (seek){.row = row, .axis = axis, .at = at - *first, .all = t->run.invokes[invoke].rows, .part = true};
    ls__edit_each(t, seek_one, &s);
  }
  if (!s.found.kind || s.several) return LS_OK;
  *whole = s.found;
  ls_value_retain(whole);
  return LS_OK;
}

/* Returns a node that takes the rows of `invoke` out of `whole`; -1 where there is none. */
static int32_t rows_of(ls_trace *t, int32_t invoke, const ls_value *whole) {
  for (int32_t i = 0; i < t->owner.nodes.count; i++) {
    if (t->owner.nodes.at[i].invoke != invoke || !t->run.nodes[i].done || t->run.values[i].kind != LS_TENSOR) continue;
    if (ls__rows_node(t, i) >= 0 && ls__rows_whole(t, i)->as.p == whole->as.p) return i;
  }
  return -1;
}

/* Fails where the invoke of `split` has asked for a gradient at the place before, or at that of `view`, and cannot have it. */
static ls_status check_asked(const ls_trace *t, const struct ls__split *split, const ls_value *view) {
  const ls__node *nodes = t->owner.nodes.at;
  const ls_value *ignored = NULL;
  for (int32_t i = 0; i < t->owner.nodes.count; i++) {
    int32_t number = t->run.nodes[i].gradient;
    if (!number || nodes[i].stream[0].kind != LS_NODE || owner_of(t, nodes[i].stream[0].aux, &ignored) != split->invoke) continue;
    const ls__capture *capture = t->run.gradients[number - 1].capture;
    if (!ls__capture_is_of(capture, view->as.p) && !(split->before.aux && ls__capture_is_of(capture, split->before.as.p))) continue;
    ls__grad_untold();
    ls__fail_site(nodes[i].site, 0);
    return LS_ERROR_STATE;
  }
  return LS_OK;
}

/* Notes that the edit copied to a row of the tensor of `split` was made in `from`; LS_NONE where that is not known. */
static ls_status note_from(ls_trace *t, struct ls__split *split, const ls_value *from, int32_t axis, const ls_value *view) {
  split->refused = view ? REFUSED_VIEW : from->kind ? 0 : REFUSED_LOST;
  ls_tensor_info info;
  ls_status status = from->kind ? ls__tensor_place(from->as.p, &split->part) : LS_OK;
  if (!status && split->part.kind && !(status = ls_tensor_describe(from, &info))) {
    split->shared = info.shape[axis] == t->run.rows;
    if (split->shared) split->rows = rows_of(t, split->invoke, from);
  }
  return status || !view ? status : check_asked(t, split, view);
}

/* How the tensor of `split` has row `at` of the batch, to which an edit was copied: as a tensor of the batch, as one of the rows of the
   invoke `owner`, as a part of either, or not. */
enum { NOT, PART, OWN, BATCH };
static int32_t how(const ls_trace *t, const struct ls__split *split, const ls_value *row, int32_t axis, int32_t at, int32_t owner) {
  const ls__running_invoke *own = &t->run.invokes[owner];
  if (has_row(&split->fresh, row, axis, at, t->run.rows)) return BATCH;
  if (!has_row(&split->fresh, row, axis, at - own->first, own->rows)) return NOT;
  return split->before.aux ? PART : OWN;
}

ls_status ls__grad_followed(ls_trace *t, const ls_value *row, int32_t axis, int32_t at, const ls_value *from,
                            const ls_value *view) {
  int32_t start = t->run.split_count - t->run.moved_count, count = t->run.split_count, kept = start, owner = invoke_of_row(t, at), best = NOT;
  if (!t->run.moved_count) return LS_OK;
  ls_status status = LS_OK;
  if (view && !view->kind) view = NULL;
  t->run.moved_count = 0;
  for (int32_t i = start; i < count && owner != UNKNOWN; i++) {
    int32_t is = how(t, &t->run.splits[i], row, axis, at, owner);
    if (is > best) best = is;
  }
  for (int32_t i = start; i < count; i++) {
    struct ls__split split = t->run.splits[i];
    bool useful = false;
    if (!status && owner != UNKNOWN) {
      bool whole = best && how(t, &split, row, axis, at, owner) == best;
      status = finish(&split, owner, row, &useful);
      if (!status && useful && whole) status = note_from(t, &split, from, axis, view);
    }
    if (useful) t->run.splits[kept++] = split;
    else drop(&split);
  }
  t->run.split_count = kept;
  return status;
}

/* ---- where gradients are taken -------------------------------------------------------------------------------------- */

/* Whether a gradient of the rows of `invoke` at `tensor` cannot be told, since an edit of them was copied to a view. */
static bool is_refused(const struct ls__split *split, int32_t invoke, const ls_value *tensor) {
  if (split->refused != REFUSED_VIEW || split->invoke != invoke) return false;
  if (split->before.aux && ls__tensor_same_place(split->before.as.p, tensor->as.p)) return true;
  return split->part.kind == LS_TENSOR && ls__tensor_same_place(split->part.as.p, tensor->as.p);
}

const ls_value *ls__grad_home(const ls_trace *t, int32_t of, const ls_value *tensor, int32_t *rows) {
  const ls_value *ignored = NULL;
  int32_t invoke = owner_of(t, of, &ignored);
  for (int32_t i = t->run.split_count - t->run.moved_count - 1; i >= 0; i--) {
    const struct ls__split *split = &t->run.splits[i];
    if (is_refused(split, invoke, tensor)) return NULL;
    if (!ls__tensor_same_place(split->fresh.as.p, tensor->as.p)) continue;
    bool own = split->invoke == invoke;
    if (own && (split->refused || (split->shared && *rows < 0 && split->rows < 0))) return NULL;
    if (invoke == UNKNOWN && split->invoke != NOBODY) break;
    const ls_value *home = own ? &split->part : &split->before;
    if (!home->kind) break;
    tensor = home;
    if (!own) continue;
    if (split->shared) {
      if (*rows < 0) *rows = split->rows;
      continue;
    }
    *rows = split->rows;
    invoke = split->rows >= 0 ? t->owner.nodes.at[split->rows].invoke : UNKNOWN;
  }
  return tensor;
}
