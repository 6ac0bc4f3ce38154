// Drives the launches of csrc/cuda/orthogonality.cu on the host.
#include "product_device_on_host.h"

#include "orthogonality_steps.h"

using namespace mflag;
using namespace mflag::orthogonality;

// formula: s, t, λ, a, ε, δ. `counts`: launches, products.
extern "C" int orthogonality(const void* z, int64_t type, int64_t rows, int64_t columns, int64_t norm, const double* formula,
                             float* loss, float* gradient, int64_t processors, int64_t order, int64_t* counts) {
  return cuda_on_host::guarded([&] {
    cuda_on_host::Order guard(order);
    HostDevice device{static_cast<int>(processors), {}, {}};
    const Formula f{static_cast<Norm>(norm), formula[0], formula[1], formula[2], formula[3], formula[4], formula[5]};
    Steps<HostDevice>(device, f, z, static_cast<Type>(type), rows, columns, loss, gradient).run();
    counts[0] = device.launches;
    counts[1] = device.products;
  });
}
