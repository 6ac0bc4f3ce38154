// Drives the launches of csrc/cuda/barlow_twins.cu on the host.
#include "product_device_on_host.h"

#include "barlow_twins_steps.h"

using namespace mflag;

// `counts`: launches, products.
extern "C" int barlow_twins(const void* z_a, const void* z_b, int64_t type, int64_t rows, int64_t columns, double lambda, float* loss,
                            float* gradient_a, float* gradient_b, int64_t order, int64_t* counts) {
  return cuda_on_host::guarded([&] {
    cuda_on_host::Order guard(order);
    HostDevice device{132, {}, {}};
    barlow_twins::Steps<HostDevice>(device, lambda, static_cast<Type>(type), rows, columns, loss, gradient_a, gradient_b).run(z_a, z_b);
    counts[0] = device.launches;
    counts[1] = device.products;
  });
}
