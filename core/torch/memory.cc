// Memory that several tensors share: whether they do, and the move of all of them to a copy of it.
#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <unordered_map>
#include "torch/common.h"

using namespace luasight;

bool ls__tensor_shares(void* a, void* b) {
  if (a == b) return true;
  auto *x = static_cast<c10::TensorImpl*>(a), *y = static_cast<c10::TensorImpl*>(b);
  return x->has_storage() && y->has_storage() &&
         x->storage().unsafeGetStorageImpl() == y->storage().unsafeGetStorageImpl();
}

// The range that a tensor covers in its storage, in bytes and not in elements, since tensors on one storage may have different dtypes.
static void stretch(const at::Tensor& t, int64_t* from, int64_t* to) {
  auto size = static_cast<int64_t>(t.itemsize());
  *from = *to = t.storage_offset() * size;
  for (int64_t i = 0; i < t.dim(); i++) {
    if (t.size(i) == 0) return;
    *to += (t.size(i) - 1) * t.stride(i) * size;
  }
  *to += size;
}

// Whether two tensors may have a byte in common. Two tensors that cover separate ranges of one storage have none.
bool ls__tensor_overlaps(void* a, void* b) {
  if (!ls__tensor_shares(a, b)) return false;
  if (a == b) return true;
  int64_t a0, a1, b0, b1;
  stretch(borrow(a), &a0, &a1);
  stretch(borrow(b), &b0, &b1);
  return a0 < b1 && b0 < a1;
}

uint64_t ls__tensor_layout(void* tensor) {
  auto t = borrow(tensor);
  uint64_t number = 1469598103934665603u;
  auto add = [&](uint64_t part) { number = (number ^ part) * 1099511628211u; };
  if (!t.has_storage()) return 1;
  add(reinterpret_cast<uintptr_t>(t.storage().unsafeGetStorageImpl()));
  add(static_cast<uint64_t>(t.storage_offset()));
  for (int64_t i = 0; i < t.dim(); i++) {
    add(static_cast<uint64_t>(t.size(i)));
    add(static_cast<uint64_t>(t.stride(i)));
  }
  return number | 1;
}

bool ls__tensor_fills(void* tensor) {
  auto t = borrow(tensor);
  if (!t.has_storage()) return true;
  int64_t from, to;
  stretch(t, &from, &to);
  return from == 0 && to == static_cast<int64_t>(t.storage().nbytes());
}

const void* ls__tensor_memory(void* tensor) {
  auto* t = static_cast<c10::TensorImpl*>(tensor);
  return t->has_storage() ? t->storage().unsafeGetStorageImpl() : nullptr;
}

int64_t ls__tensor_holders(void* tensor) { return static_cast<int64_t>(borrow(tensor).use_count()) - 1; }

int64_t ls__tensor_sharers(void* tensor) {
  auto* t = static_cast<c10::TensorImpl*>(tensor);
  return t->has_storage() ? static_cast<int64_t>(t->storage().use_count()) : INT64_MAX;
}

// ---- moves -------------------------------------------------------------------------------------------------------------

struct ls__move {
  at::Tensor of, cover;      // a tensor of the old memory; one that covers all of the range, where there is one
  bool alone = false;        // whether the tensor goes alone: its elements are not rows of numbers in a storage
  int64_t from = 0, to = 0;  // the range of bytes in the old storage
  bool trains = false;       // whether autograd records, and a tensor in the range depends on a leaf
  at::Tensor copy;           // the copy of the range; the byte `from` of the old storage is its first
  std::unordered_map<void*, at::Tensor> moved;  // for each tensor its place in the copy
};

ls_status ls__move_new(void* tensor, ls__move** out) {
  return guarded("copying memory that must not change", [&] {
    auto* m = new ls__move;
    m->of = borrow(tensor);
    m->alone = !m->of.has_storage() || m->of.layout() != at::kStrided;
    if (!m->alone) stretch(m->of, &m->from, &m->to);
    *out = m;
    return LS_OK;
  });
}

void ls__move_free(ls__move* m) { delete m; }

static bool inside(const ls__move* m, void* tensor, int64_t* from, int64_t* to) {
  if (m->alone) return tensor == m->of.unsafeGetTensorImpl();
  if (!ls__tensor_shares(tensor, m->of.unsafeGetTensorImpl())) return false;
  stretch(borrow(tensor), from, to);
  return *from < m->to && m->from < *to;
}

bool ls__move_grow(ls__move* m, void* tensor) {
  int64_t from = 0, to = 0;
  if (m->alone || !inside(m, tensor, &from, &to)) return false;
  auto t = borrow(tensor);
  bool grows = from < m->from || to > m->to;
  if (from < m->from) m->from = from;
  if (to > m->to) m->to = to;
  m->trains = m->trains || (t.requires_grad() && c10::GradMode::is_enabled());
  if (grows) m->cover = at::Tensor();
  bool covers = from == m->from && to == m->to && !is_lazy(t);
  if (covers && (!m->cover.defined() || (m->cover.is_view() && !t.is_view()))) m->cover = t;
  return grows;
}

// A tensor that lies in `storage` as `like` lies in its own, `from` bytes nearer to the beginning. Autograd knows nothing of it.
static at::Tensor placed(const at::Tensor& like, const at::Tensor& in, int64_t from) {
  auto impl = c10::make_intrusive<c10::TensorImpl>(c10::TensorImpl::VIEW, c10::Storage(in.storage()), like.key_set(), like.dtype());
  impl->set_storage_offset(0);
  impl->set_sizes_and_strides(like.sizes(), like.strides());
  impl->set_storage_offset(like.storage_offset() - from / static_cast<int64_t>(like.itemsize()));
  if (!like.is_inference() && !in.is_inference()) impl->set_version_counter(in.unsafeGetTensorImpl()->version_counter());
  return at::Tensor(std::move(impl));
}

static at::Tensor bytes_of(const at::Tensor& t, int64_t from, int64_t to, const at::Tensor& like) {
  auto impl = c10::make_intrusive<c10::TensorImpl>(c10::TensorImpl::VIEW, c10::Storage(t.storage()), like.key_set(), like.dtype());
  const int64_t size = to - from, stride = 1;
  impl->set_sizes_and_strides(c10::IntArrayRef(size), c10::IntArrayRef(stride));
  impl->set_storage_offset(from);
  return at::Tensor(std::move(impl));
}

ls_status ls__move_copy(ls__move* m) {
  return guarded("copying memory that must not change", [&] {
    if (m->alone) {
      m->copy = m->of.clone();
      m->moved[m->of.unsafeGetTensorImpl()] = m->copy;
    } else if (!m->trains) {
      m->copy = at::empty({m->to - m->from}, at::TensorOptions().dtype(at::kByte).device(m->of.device()));
      if (m->to > m->from) m->copy.copy_(bytes_of(m->of, m->from, m->to, m->copy));
    } else {
      if (!m->cover.defined() && m->of.is_view()) m->cover = m->of._base();
      int64_t from = 0, to = 0;
      if (m->cover.defined()) stretch(m->cover, &from, &to);
      if (!m->cover.defined() || from > m->from || to < m->to)
        return ls__fail(LS_ERROR_STATE, "this value is one of several that overlap in memory, and none of them holds all of it, so that "
                                        "its gradient cannot be followed; clone it before it is changed in place");
      m->from = from;
      m->to = to;
      // Autograd follows a change of a view from the base of the view on, so the copy depends on the base alone. What it depends on must not
      // differ with what else there is of this memory.
      auto from_base = m->cover;
      if (m->cover.is_view()) {
        auto base = at::Tensor(m->cover._base());
        from_base = base.as_strided(m->cover.sizes(), m->cover.strides(), m->cover.storage_offset());
      }
      if (m->cover.is_non_overlapping_and_dense()) {
        m->copy = from_base.clone();
        if (!m->cover.is_view()) m->moved[m->cover.unsafeGetTensorImpl()] = m->copy;
      } else {
        auto size = static_cast<int64_t>(m->cover.itemsize());
        m->copy = from_base.as_strided({(to - from) / size}, {1}, from / size).clone();
      }
    }
    return LS_OK;
  });
}

ls_status ls__move_tensor(ls__move* m, ls_value* v) {
  int64_t from, to;
  if (!inside(m, v->as.p, &from, &to)) return LS_OK;
  return guarded("copying memory that must not change", [&] {
    auto& fresh = m->moved[v->as.p];
    auto old = borrow(v->as.p);
    if (!fresh.defined()) {
      auto size = static_cast<int64_t>(old.itemsize());
      bool follows = m->trains && old.scalar_type() == m->copy.scalar_type() && !is_lazy(old);
      fresh = follows ? m->copy.as_strided(old.sizes(), old.strides(), (from - m->from) / size) : placed(old, m->copy, m->from);
    }
    ls__replace(v, new_value(fresh));
    return LS_OK;
  });
}
