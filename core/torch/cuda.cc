/* Loads the CUDA half of libtorch (libtorch_cuda) at run time where the machine has a CUDA device.

   libluasight is linked to libtorch_cpu and libc10 alone, so that a libtorch built for CUDA works where the driver or the libraries of
   CUDA are missing. libtorch_cuda has to be loaded before the first use of libtorch, since libtorch otherwise remembers that
   there is no CUDA. Without a device libtorch_cuda is not loaded, since loading takes about a second. */
#include <dlfcn.h>
#include <unistd.h>
#include <cstdlib>
#include <cstring>
#include "torch/torch.h"

void ls__torch_load_cuda(void) {
  const char *visible = std::getenv("CUDA_VISIBLE_DEVICES");
  if (visible && (!*visible || !std::strcmp(visible, "-1"))) return;
  static const char *const devices[] = {"/dev/nvidiactl", "/dev/nvhost-ctrl", "/dev/dxg"}; /* CUDA's files on a PC, a Jetson, in WSL */
  for (const char *device : devices) {
    if (access(device, F_OK)) continue;
    dlopen("libtorch_cuda.so", RTLD_LAZY); /* dlopen searches the rpath; if it fails, ls_device_count("cuda") returns 0 */
    return;
  }
}
