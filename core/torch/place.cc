// Places of tensors in autograd's graph: for tensors that depend on nothing in it, as they are now, and divided between two ways.
#include <ATen/ATen.h>
#include <c10/util/intrusive_ptr.h>
#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/variable.h>
#include <memory>
#include "torch/common.h"

using namespace luasight;
using torch::autograd::Edge;
using torch::autograd::Node;
using torch::autograd::variable_list;

namespace {

using NodePointer = decltype(Edge::function);

// A node of autograd's graph at which a backward ends.
struct Source : public Node {
  variable_list apply(variable_list&& /*gradients*/) override { return {}; }
};

// A node that hands the gradient of some elements to its first edge and that of the others to its second.
struct Divide : public Node {
  at::Tensor first;  // whether the gradient of an element goes to the first edge
  variable_list apply(variable_list&& gradients) override {
    const auto& g = gradients[0];
    if (!g.defined()) return {at::Tensor(), at::Tensor()};
    auto nothing = at::zeros_like(g);
    return {at::where(first, g, nothing), at::where(first, nothing, g)};
  }
};

// Makes a node for either of the pointers with which versions of libtorch hold their nodes.
template <class Pointer>
struct Maker;
template <class N>
struct Maker<std::shared_ptr<N>> {
  template <class T>
  static std::shared_ptr<T> make() { return std::make_shared<T>(); }
};
template <class N>
struct Maker<c10::intrusive_ptr<N>> {
  template <class T>
  static c10::intrusive_ptr<T> make() { return c10::make_intrusive<T>(); }
};

void put(const at::Tensor& t, const NodePointer& node) {
  auto place = node->add_input_metadata(t);
  torch::autograd::impl::set_gradient_edge(t, Edge(node, place));
}

// Marks the elements of `like` that are elements of `region` too, which lies in the same memory.
at::Tensor common(const at::Tensor& like, const at::Tensor& region) {
  auto all = at::zeros({static_cast<int64_t>(like.storage().nbytes() / like.itemsize())}, like.options().dtype(at::kBool));
  all.as_strided(region.sizes(), region.strides(), region.storage_offset()).fill_(true);
  return all.as_strided(like.sizes(), like.strides(), like.storage_offset()).clone();
}

}  // namespace

// Gives a tensor without history a place in autograd's graph, so that libtorch computes a gradient for it. `*out` is the tensor itself, or,
// where the tensor is a view or `alias` is set, a new tensor in the same memory; LS_NONE where the dtype has no gradients (whole numbers).
// A view stays one, since autograd takes the gradient of a view and that of its memory apart where the view is changed in place.
ls_status ls__tensor_source(void* tensor, bool alias, ls_value* out) {
  return guarded("recording for a gradient", [&] {
    auto t = borrow(tensor);
    *out = ls_value{};
    if (!ls__tensor_has_gradients(tensor)) return LS_OK;
    bool view = t.is_view();
    if (alias || view) t = t.detach();
    put(t, Maker<NodePointer>::make<Source>());
    at::AutoGradMode records(true);
    *out = new_value(view ? t.view_as(t) : t);
    return LS_OK;
  });
}

// Makes a tensor without elements that has the place of `tensor` as it is now, which later changes in place do not move; LS_NONE where
// `tensor` requires no gradient. The place of a leaf is always the same, so there it is the leaf itself. `aux` of the place is 1 where the
// tensor is a view: a change of it in place moves the memory that it looks into.
ls_status ls__tensor_place(void* tensor, ls_value* out) {
  return guarded("following a gradient", [&] {
    auto t = borrow(tensor);
    *out = ls_value{};
    if (!t.requires_grad()) return LS_OK;
    bool view = t.is_view();
    if (!t.is_leaf()) {
      auto edge = torch::autograd::impl::gradient_edge(t);
      t = at::empty({0}, t.options());
      torch::autograd::impl::set_gradient_edge(t, edge);
    }
    *out = new_value(t);
    out->aux = view;
    return LS_OK;
  });
}

bool ls__tensor_same_place(void* a, void* b) {
  try {
    auto x = borrow(a), y = borrow(b);
    return x.requires_grad() && y.requires_grad() &&
           torch::autograd::impl::gradient_edge(x) == torch::autograd::impl::gradient_edge(y);
  } catch (...) {
    return false;
  }
}

// `tensor` is a view of the copy of a memory, and `region` a tensor in that copy. The gradient of the elements of `tensor` that do not lie in
// `region` (NULL: of all elements) goes to the place `before` from now on, that of the others to the copy as libtorch has it.
ls_status ls__tensor_divide(void* tensor, void* before, void* region) {
  return guarded("following a gradient", [&] {
    auto t = borrow(tensor);
    if (!t.is_view() || !t.requires_grad() || !t.numel()) return LS_OK;
    bool apart = !region || !ls__tensor_shares(tensor, region);
    if (!apart && borrow(region).itemsize() != t.itemsize()) return LS_OK;
    auto first = apart ? at::zeros(t.sizes(), t.options().dtype(at::kBool)) : common(t, borrow(region));
    if (first.all().item<bool>()) return LS_OK;
    auto node = Maker<NodePointer>::make<Divide>();
    node->first = first;
    node->set_next_edges({torch::autograd::impl::gradient_edge(t), torch::autograd::impl::gradient_edge(borrow(before))});
    put(t, node);
    return LS_OK;
  });
}
