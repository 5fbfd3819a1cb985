// The layers of a trained network in plain JavaScript, for the figures that run one.
// Maps are { channels, height, width, values }, row by row and map after map, as in torch.

const network = {
  /** Unpack 32-bit numbers from base64. */
  numbers(packed) {
    const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
    return new Float32Array(bytes.buffer);
  },

  /** Unpack 16-bit numbers, sign, exponent and fraction, from base64. */
  halves(packed) {
    const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
    return Float32Array.from(new Uint16Array(bytes.buffer), (bits) => {
      const [exponent, fraction] = [(bits >> 10) & 31, (bits & 1023) / 1024];
      const size = exponent ? (1 + fraction) * 2 ** (exponent - 15) : fraction * 2 ** -14;
      return bits >> 15 ? -size : size;
    });
  },

  /** Unpack the weights of a network. */
  unpack(layers, numbers = network.numbers) {
    return layers.map((layer) => ({
      ...layer,
      ...(layer.weight && { weight: numbers(layer.weight), bias: numbers(layer.bias) }),
      ...(layer.matrix && { matrix: numbers(layer.matrix) }),
    }));
  },

  /** Send maps through a network: what comes out, and what its first convolution made of them. */
  run(layers, input) {
    let state = input;
    let maps = null;
    for (const layer of layers) {
      state = network[layer.kind](state, layer);
      if (layer.kind === "conv") maps ??= state;
    }
    return { state, maps };
  },

  normalize(input, { mean, std }) {
    return { ...input, values: input.values.map((value) => (value - mean[0]) / std[0]) };
  },

  /** The same interpolation along both axes: every output is a mixture of inputs. */
  upsample(input, { matrix, out }) {
    const { channels, height, width } = input;
    const values = new Float64Array(channels * out * out);
    for (let c = 0; c < channels; c++) {
      for (let y = 0; y < out; y++) {
        for (let x = 0; x < out; x++) {
          let sum = 0;
          for (let i = 0; i < height; i++) {
            for (let j = 0; j < width; j++) {
              const share = matrix[y * height + i] * matrix[x * width + j];
              sum += share * input.values[(c * height + i) * width + j];
            }
          }
          values[(c * out + y) * out + x] = sum;
        }
      }
    }
    return { channels, height: out, width: out, values };
  },

  relu(input) {
    return { ...input, values: input.values.map((value) => Math.max(value, 0)) };
  },

  /** Square kernels of odd size, stride 1, and as many zeros around as keep the size. */
  conv(input, { weight, bias, out, size }) {
    const { channels, height, width } = input;
    const padding = (size - 1) / 2;
    const values = new Float64Array(out * height * width);
    for (let o = 0; o < out; o++) {
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
          let sum = bias[o];
          for (let c = 0; c < channels; c++) {
            for (let i = 0; i < size; i++) {
              const row = y + i - padding;
              if (row < 0 || row >= height) continue;
              for (let j = 0; j < size; j++) {
                const column = x + j - padding;
                if (column < 0 || column >= width) continue;
                sum +=
                  weight[((o * channels + c) * size + i) * size + j] *
                  input.values[(c * height + row) * width + column];
              }
            }
          }
          values[(o * height + y) * width + x] = sum;
        }
      }
    }
    return { channels: out, height, width, values };
  },

  /** Kernels of 4 × 4, stride 2, padding 1: every number is spread over 4 × 4 of twice the size. */
  conv_transpose(input, { weight, bias, out }) {
    const { channels, height, width } = input;
    const [tall, wide] = [2 * height, 2 * width];
    const values = Float64Array.from({ length: out * tall * wide }, (_, at) => {
      return bias[Math.floor(at / (tall * wide))];
    });
    for (let c = 0; c < channels; c++) {
      for (let y = 0; y < height; y++) {
        for (let x = 0; x < width; x++) {
          const value = input.values[(c * height + y) * width + x];
          if (value === 0) continue;
          for (let o = 0; o < out; o++) {
            for (let i = 0; i < 4; i++) {
              const row = 2 * y + i - 1;
              if (row < 0 || row >= tall) continue;
              for (let j = 0; j < 4; j++) {
                const column = 2 * x + j - 1;
                if (column < 0 || column >= wide) continue;
                values[(o * tall + row) * wide + column] +=
                  value * weight[((c * out + o) * 4 + i) * 4 + j];
              }
            }
          }
        }
      }
    }
    return { channels: out, height: tall, width: wide, values };
  },

  sigmoid(input) {
    return { ...input, values: input.values.map((value) => 1 / (1 + Math.exp(-value))) };
  },

  /** The largest of every 2 × 2 numbers; what is left over at the far ends is dropped. */
  max_pool(input) {
    const size = 2;
    const height = Math.floor(input.height / size);
    const width = Math.floor(input.width / size);
    const values = new Float64Array(input.channels * height * width).fill(-Infinity);
    for (let c = 0; c < input.channels; c++) {
      for (let y = 0; y < height * size; y++) {
        for (let x = 0; x < width * size; x++) {
          const at = (c * height + Math.floor(y / size)) * width + Math.floor(x / size);
          const value = input.values[(c * input.height + y) * input.width + x];
          values[at] = Math.max(values[at], value);
        }
      }
    }
    return { ...input, height, width, values };
  },

  global_max(input) {
    return network.summarise(input, (map) => Math.max(...map));
  },

  global_mean(input) {
    return network.summarise(input, (map) => map.reduce((a, b) => a + b, 0) / map.length);
  },

  /** One number for each channel. */
  summarise(input, number) {
    const area = input.height * input.width;
    const maps = Array.from({ length: input.channels }, (_, c) =>
      input.values.slice(c * area, (c + 1) * area),
    );
    return { ...input, height: 1, width: 1, values: Float64Array.from(maps, number) };
  },

  linear(input, { weight, bias, out }) {
    const length = input.values.length;
    const values = Float64Array.from({ length: out }, (_, o) =>
      input.values.reduce((sum, value, d) => sum + value * weight[o * length + d], bias[o]),
    );
    return { channels: out, height: 1, width: 1, values };
  },

  softmax(scores) {
    const top = Math.max(...scores);
    const powers = scores.map((score) => Math.exp(score - top));
    const sum = powers.reduce((a, b) => a + b, 0);
    return powers.map((power) => power / sum);
  },
};
