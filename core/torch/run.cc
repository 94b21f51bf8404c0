// Settings of libtorch: autograd on and off, random numbers, threads, devices, and what luasight changes in libtorch when it starts.
#include "torch/common.h"
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <c10/core/DispatchKeySet.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <c10/util/Backtrace.h>
#include <c10/util/Logging.h>
#include <sched.h>
#include <torch/version.h>
#include <cstring>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

using namespace luasight;

// ---- the start -----------------------------------------------------------------------------------------------------------

static int usable_cores() {
  cpu_set_t set;
  return sched_getaffinity(0, sizeof set, &set) ? 1 : CPU_COUNT(&set);
}

// Turns backtraces in libtorch's errors on or off. Turning them on sets libtorch's default function for
// backtraces, since libtorch does not tell which function was set before.
void ls__torch_backtraces(bool on) {
  if (!on) c10::SetStackTraceFetcher([]() -> std::string { return ""; });
#if __has_include(<c10/util/Lazy.h>)
  else c10::SetStackTraceFetcher([]() -> c10::Backtrace { return c10::get_lazy_backtrace(1); });
#else
  else c10::SetStackTraceFetcher([]() -> std::string { return c10::get_backtrace(1); });
#endif
}

void ls__torch_use_cores(bool on) {
  static int before;
  if (on) {
    before = 0;
    if (std::getenv("OMP_NUM_THREADS")) return;
    before = at::get_num_threads();
    at::set_num_threads(usable_cores());
  } else if (before > 0) {
    at::set_num_threads(before);
  }
}

bool luasight::drops_warnings = false;

void ls__torch_warnings(bool on) { drops_warnings = !on; }

luasight::Dropped* luasight::dropped() {
  static Dropped handler;
  return &handler;
}

const char* ls_torch_version(void) { return TORCH_VERSION; }

// ---- modes -------------------------------------------------------------------------------------------------------------

void ls__mode_enter(bool autograd, ls__mode* saved) {
  auto now = c10::impl::tls_local_dispatch_key_set();
  saved->included = now.included_.raw_repr();
  saved->excluded = now.excluded_.raw_repr();
  saved->grad = at::GradMode::is_enabled();
  if (autograd) return at::GradMode::set_enabled(true);
  now.excluded_ = now.excluded_ | c10::autograd_dispatch_keyset_with_ADInplaceOrView;
  c10::impl::_force_tls_local_dispatch_key_set(now);
  at::GradMode::set_enabled(false);
}

void ls__mode_leave(const ls__mode* saved) {
  auto now = c10::impl::tls_local_dispatch_key_set();
  now.included_ = c10::DispatchKeySet(c10::DispatchKeySet::RAW, saved->included);
  now.excluded_ = c10::DispatchKeySet(c10::DispatchKeySet::RAW, saved->excluded);
  c10::impl::_force_tls_local_dispatch_key_set(now);
  at::GradMode::set_enabled(saved->grad != 0);
}

int32_t ls_grad_enabled(void) { return at::GradMode::is_enabled(); }
void ls_grad_enable(int32_t on) { at::GradMode::set_enabled(on != 0); }

// ---- settings ----------------------------------------------------------------------------------------------------------

ls_status ls_manual_seed(int64_t seed) {
  return guarded("manual_seed", [&] {
    at::manual_seed(static_cast<uint64_t>(seed));
    return LS_OK;
  });
}

struct ls__random {
  std::vector<std::pair<at::Generator, at::Tensor>> states;
};

static void keep_state(ls__random* r, at::Generator generator) {
  std::lock_guard<std::mutex> lock(generator.mutex());
  r->states.emplace_back(generator, generator.get_state());
}

ls_status ls__random_keep(ls__random** out) {
  return guarded("the state of random numbers", [&] {
    auto r = std::make_unique<ls__random>();
    keep_state(r.get(), at::detail::getDefaultCPUGenerator());
    int count = at::hasCUDA() ? static_cast<int>(at::detail::getCUDAHooks().getNumGPUs()) : 0;
    for (int i = 0; i < count; i++) {
      auto index = static_cast<at::DeviceIndex>(i);
      if (at::detail::getCUDAHooks().hasPrimaryContext(index))
        keep_state(r.get(), at::globalContext().defaultGenerator(at::Device(at::kCUDA, index)));
    }
    *out = r.release();
    return LS_OK;
  });
}

void ls__random_restore(ls__random* r) {
  if (!r) return;
  guarded("the state of random numbers", [&] {
    for (auto& state : r->states) {
      std::lock_guard<std::mutex> lock(state.first.mutex());
      state.first.set_state(state.second);
    }
    return LS_OK;
  });
  delete r;
}

int32_t ls_threads(void) { return at::get_num_threads(); }

ls_status ls_set_threads(int32_t n) {
  enum { MOST_THREADS = 4096 };  // with more threads OpenMP may fail to start one, and a failure ends the process
  if (n < 1) return ls__fail(LS_ERROR_ARGUMENT, "the number of threads must be 1 or more, not %d", n);
  if (n > MOST_THREADS) return ls__fail(LS_ERROR_ARGUMENT, "the number of threads must be 4096 or less, not %d", n);
  return guarded("setting the number of threads", [&] {
    at::set_num_threads(n);
    return LS_OK;
  });
}

int32_t ls_device_count(const char* kind) {
  if (!kind) return -1;
  try {
    if (!std::strcmp(kind, "cpu")) return 1;
    if (std::strcmp(kind, "cuda") || !at::hasCUDA()) return 0;
    return static_cast<int32_t>(at::detail::getCUDAHooks().getNumGPUs());
  } catch (...) {
    return 0;
  }
}
