/* The CUDA half of libtorch, which is loaded at run time where there is a device.

   libluasight is linked to libtorch_cpu and libc10 alone, so that a libtorch built for CUDA works where the driver or the libraries of
   CUDA are missing. libtorch_cuda registers itself when it is loaded, which has to happen before the first use of libtorch, since
   libtorch remembers that there was no CUDA. Without a device it is not loaded, since that takes about a second. */
#include <dlfcn.h>
#include <unistd.h>
#include <cstdlib>
#include <cstring>
#include "torch/torch.h"

void ls__torch_load_cuda(void) {
  const char *visible = std::getenv("CUDA_VISIBLE_DEVICES");
  if (visible && (!*visible || !std::strcmp(visible, "-1"))) return;
  static const char *const devices[] = {"/dev/nvidiactl", "/dev/nvhost-ctrl", "/dev/dxg"}; /* on a PC, on Jetson, in WSL */
  for (const char *device : devices) {
    if (access(device, F_OK)) continue;
    dlopen("libtorch_cuda.so", RTLD_LAZY); /* the library's rpath finds it; ls_device_count shows the result */
    return;
  }
}
