/* The CUDA half of libtorch, loaded at run time where there is a device.

   libluasight is linked to libtorch_cpu and libc10 alone, so a libtorch built for CUDA works where the driver or the
   libraries of CUDA are missing. What libtorch_cuda registers when it is loaded has to be there before the first use
   of libtorch, which remembers that there was no CUDA. Without a device nothing is loaded, since
   it takes about a second. */
#include <dlfcn.h>
#include <unistd.h>
#include <cstdlib>
#include <cstring>
#include "torch/torch.h"

void ls__torch_load_cuda(void) {
  const char *visible = std::getenv("CUDA_VISIBLE_DEVICES");
  if (visible && (!*visible || !std::strcmp(visible, "-1"))) return;
  static const char *const devices[] = {"/dev/nvidiactl", "/dev/nvhost-ctrl", "/dev/dxg"}; /* PC, Jetson, WSL */
  for (const char *device : devices) {
    if (access(device, F_OK)) continue;
    dlopen("libtorch_cuda.so", RTLD_LAZY); /* found by our own rpath; the result shows in ls_device_count */
    return;
  }
}
