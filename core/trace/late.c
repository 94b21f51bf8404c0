/* Edits in place that come too late. What shares memory is known only when the model runs: two points may have one tensor. So an edit can
   run later than the plan has seen, behind a line that is written below it and should show it. Such a line is an error. */
#include <stdlib.h>
#include "trace/trace.h"

/* A line that has yet to run uses a copy of the value `was`, since an edit below it has changed that. */
struct ls__late {
  int32_t line;
  ls_value was;
};

/* Notes that node `line`, which has yet to run, uses a copy of the value `was`, since an edit that is written below it changes that. */
ls_status ls__late_keep(ls_trace *t, int32_t line, const ls_value *was) {
  int32_t kept = 0;
  for (int32_t i = 0; i < t->run.late_count; i++) {
    if (t->run.nodes[t->run.late[i].line].done) ls_value_release(&t->run.late[i].was);
    else t->run.late[kept++] = t->run.late[i];
  }
  t->run.late_count = kept;
  if (kept == t->run.late_room) {
    int32_t room = kept ? 2 * kept : 8;
    struct ls__late *bigger = realloc(t->run.late, sizeof *bigger * (size_t)room);
    if (!bigger) return ls__fail(LS_ERROR_MEMORY, "out of memory for the lines that use copies of edited values");
    t->run.late = bigger;
    t->run.late_room = room;
  }
  ls_value_retain(was);
  t->run.late[t->run.late_count++] = (struct ls__late){line, *was};
  return LS_OK;
}

/* The edit is written above a line that should show it, and runs behind another edit, which is written below that line. */
static ls_status between(const ls_trace *t, int32_t edit, int32_t line) {
  ls__fail(LS_ERROR_CHANGED, "this edit in place runs behind an edit that is written below it, and a line between them uses the value of "
                             "both; write the edits of one tensor in the order in which the model reaches them, or clone it for that line");
  ls__fail_site(t->owner.nodes.at[edit].site, t->owner.nodes.at[line].site);
  return LS_ERROR_CHANGED;
}

/* Fails where node `edit`, which changes `tensor` in place now, is written above such a line, so that the line would not show it. */
ls_status ls__late_check(const ls_trace *t, int32_t edit, void *tensor) {
  for (int32_t i = 0; i < t->run.late_count; i++) {
    const struct ls__late *late = &t->run.late[i];
    if (edit < late->line && !t->run.nodes[late->line].done && ls__value_reaches(&late->was, tensor)) return between(t, edit, late->line);
  }
  return LS_OK;
}

/* ---- lines that ran before an edit above them ---------------------------------------------------------------------- */

/* The part of the value of node `id` that node `edit` changes in place. */
static const ls_value *changed_part(const ls_trace *t, int32_t id, int32_t edit) {
  const ls__node *of = &t->owner.nodes.at[t->owner.nodes.at[edit].edits];
  const ls_value *v = &t->run.values[id];
  bool piece = ls__is_sequence(v->kind) && of->kind == LS__GETITEM && of->n == 2 && of->stream[0].kind == LS_NODE && of->stream[0].aux == id;
  int32_t i = piece ? ls__rows_element(v, &of->stream[1]) : -1;
  return i >= 0 ? &ls__seq_items(v)[i] : v;
}

/* Whether node `line`, written below node `edit`, runs before it and uses a value with the root `root`. */
static bool was_early(const ls_trace *t, int32_t line, int32_t edit, int32_t root) {
  const ls__planned *own = &t->plan.nodes[line], *its = &t->plan.nodes[edit];
  const ls__node *node = ls__seen(t, line);
  if (own->time > its->time || (own->time == its->time && own->rank >= its->rank)) return false;
  if (!own->needed && !t->run.nodes[line].done) return false;
  for (int32_t k = 0; k < node->n; k++)
    if (node->stream[k].kind == LS_NODE && t->plan.nodes[node->stream[k].aux].root == root) return true;
  return false;
}

/* Called when node `id` has run, whose value nodes to come edit in place. Fails where it lies in the memory of an argument, which was not
   known before, and a line below such an edit has used the argument already. */
ls_status ls__late_shared(const ls_trace *t, int32_t id) {
  const ls__node *node = ls__seen(t, id);
  if (node->kind == LS__SEQ) return LS_OK; /* an element of it is the node of the element, see record.c */
  for (int32_t edit = t->plan.nodes[id].edited; edit >= 0; edit = t->plan.nodes[edit].earlier) {
    const ls_value *part = changed_part(t, id, edit);
    for (int32_t k = 0; k < node->n && part->kind == LS_TENSOR; k++) {
      if (node->stream[k].kind != LS_NODE || !ls__value_reaches(&t->run.values[node->stream[k].aux], part->as.p)) continue;
      for (int32_t line = edit + 1; line < t->owner.nodes.count; line++) {
        if (!was_early(t, line, edit, t->plan.nodes[node->stream[k].aux].root)) continue;
        ls__fail(LS_ERROR_CHANGED, "this edit in place changes a value that a line below it has used before, since the value that is edited "
                                   "lies in the same memory and comes later; clone it, or edit the value that comes first");
        ls__fail_site(t->owner.nodes.at[edit].site, t->owner.nodes.at[line].site);
        return LS_ERROR_CHANGED;
      }
    }
  }
  return LS_OK;
}

/* -------------------------------------------------------------------------------------------------------------------- */

void ls__late_each(ls_trace *t, void (*each)(void *context, ls_value *tensor), void *context) {
  for (int32_t i = 0; i < t->run.late_count; i++) ls__value_each(&t->run.late[i].was, each, context);
}

void ls__late_free(ls_trace *t) {
  for (int32_t i = 0; i < t->run.late_count; i++) ls_value_release(&t->run.late[i].was);
  free(t->run.late);
  t->run.late = NULL;
  t->run.late_count = t->run.late_room = 0;
}
