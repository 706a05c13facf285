// The functions that printed formulas call: the atoms of symloss/atoms.py and what loops are made of.
// Each is as exact as a plot needs and a test asks for (twelve digits); the kernels have their own.
"use strict";
const symloss = { losses: {} };

symloss.functions = (() => {
  const { abs, acos, acosh, asin, asinh, atan, atanh, cos, cosh, exp, expm1, log, log1p, PI, sign, sin, sinh, sqrt, tan, tanh } = Math;
  const nan = NaN, inf = Infinity;
  const ROOT_PI = sqrt(PI), LOG_2 = Math.LN2;

  // Choices and comparisons: both sides are computed, and one is taken.
  const select = (test, yes, no) => (test ? yes : no);
  const opposite = (test) => !test;
  const larger = (x, y) => (x !== x || y !== y ? nan : x > y ? x : y);
  const smaller = (x, y) => (x !== x || y !== y ? nan : x < y ? x : y);

  // Loops over one index, or over several: the body gets as many arguments as there are sizes.
  const each = (sizes, body) => {
    const dims = Array.isArray(sizes) ? sizes : [sizes];
    const total = dims.reduce((product, size) => product * size, 1);
    for (let flat = 0; flat < total; flat++) {
      const at = [];
      for (let rest = flat, d = dims.length - 1; d >= 0; d--) {
        at[d] = rest % dims[d];
        rest = Math.floor(rest / dims[d]);
      }
      body(at, flat);
    }
  };
  const sum = (sizes, term) => {
    let total = 0, lost = 0; // what each addition rounds away is added at the end
    each(sizes, (at) => {
      const x = term(...at), next = total + x;
      lost += abs(total) >= abs(x) ? total - next + x : x - next + total;
      total = next;
    });
    return total + (lost === lost ? lost : 0);
  };
  const product = (sizes, factor) => {
    let total = 1;
    each(sizes, (at) => (total *= factor(...at)));
    return total;
  };
  const largest = (sizes, entry) => {
    let top = -inf;
    each(sizes, (at) => (top = larger(top, entry(...at))));
    return top;
  };
  const smallest = (sizes, entry) => -largest(sizes, (...at) => -entry(...at));
  const argmax = (sizes, entry) => {
    let top = -inf, place = 0;
    each(sizes, (at, flat) => {
      const x = entry(...at);
      if (x > top) [top, place] = [x, flat];
    });
    return place;
  };

  // Arithmetic with its exceptions.
  const times0 = (x, y) => (x === 0 && y === y ? 0 : x * y);
  const ratio0 = (x, y) => (x === 0 && y === y ? 0 : x / y);
  const shift = (x, top) => (x === top ? 0 : x - top);
  const scale_of = (x) => (x === 0 || x - x !== 0 ? 1 : 2 ** -Math.max(-1000, Math.min(1000, Math.floor(Math.log2(abs(x))) + 1)));
  const power = (x, a) => x ** a;

  // Exponentials and logarithms.
  const sigmoid = (x) => (x >= 0 ? 1 / (1 + exp(-x)) : exp(x) / (1 + exp(x)));
  const softplus = (x) => (x > 0 ? x + log1p(exp(-x)) : log1p(exp(x)));
  const log1mexp = (x) => (x > -LOG_2 ? log(-expm1(x)) : log1p(-exp(x)));
  const over_expm1 = (x) => (x === 0 ? 1 : x > 700 ? x * exp(-x) : x / expm1(x));
  const bose = (x) => 1 / expm1(-x);
  const logaddexp = (x, y) => (x === y ? x + LOG_2 : Math.max(x, y) + log1p(exp(-abs(x - y))));
  const logcosh = (x) => (abs(x) < 10 ? log1p(2 * sinh(x / 2) ** 2) : abs(x) - LOG_2 + log1p(exp(-2 * abs(x))));
  const sech2 = (x) => (abs(x) > 350 ? 0 : 1 / cosh(x) ** 2);
  const log_ratio = (a, b, difference, at_zero) =>
    a === 0 && b === 0 ? at_zero : abs(difference) < 0.5 * b ? log1p(difference / b) : log(a) - log(b);
  // log(1 + x) = 2 artanh(u) with u = x / (2 + x), so that x - log(1 + x) = x u - 2 (u^3/3 + u^5/5 + ...).
  const x_minus_log1p = (x) => {
    if (abs(x) > 0.5) return x - log1p(x);
    const u = x / (2 + x);
    let rest = 0;
    for (let n = 41; n >= 3; n -= 2) rest = rest * u * u + 1 / n;
    return x * u - 2 * u * u * u * rest;
  };
  const expm1_minus_x = (x) => {
    if (abs(x) > 0.5) return expm1(x) - x;
    let rest = 0;
    for (let n = 18; n >= 2; n--) rest = (1 + rest) * (x / n);
    return rest * x; // x^2/2 (1 + x/3 (1 + x/4 (...)))
  };
  const entropy_gap = (x, y) => {
    const u = (y - x) / x;
    if (x === 0) return y;
    return abs(u) < 0.5 ? x * x_minus_log1p(u) : y - x + x * log_ratio(x, y, x - y, nan);
  };
  const log_gap = (x, y) => {
    const u = (x - y) / y;
    if (abs(u) < 0.5) return x_minus_log1p(u);
    return u < inf ? u - log_ratio(x, y, x - y, nan) : u;
  };
  const boxcox1p = (t, a) => (a === 0 ? log1p(t) : expm1(a * log1p(t)) / a);

  // Roots of squares.
  const hypot1 = (x) => Math.hypot(1, x);
  const hypot1m1 = (x) => x * (x / (1 + hypot1(x)));
  const tilt = (x) => (abs(x) === inf ? sign(x) : x / hypot1(x));
  const log1p_square = (x) => (abs(x) > 1e8 ? 2 * log(abs(x)) : log1p(x * x));
  const boxcox1p_square = (x, a) => (a === 0 ? log1p_square(x) : expm1(a * log1p_square(x)) / a);

  // The normal distribution. Beyond 2, erfc(x) = e^-x^2 / (sqrt(pi) (x + T)) with Laplace's continued fraction T.
  const tail = (x) => {
    let t = 0;
    for (let n = 200; n >= 1; n--) t = n / 2 / (x + t);
    return t;
  };
  const erf = (x) => {
    if (abs(x) > 2) return sign(x) * (1 - erfc(abs(x)));
    let term = x, total = x;
    for (let n = 1; n < 60; n++) total += term *= (2 * x * x) / (2 * n + 1);
    return (2 / ROOT_PI) * exp(-x * x) * total;
  };
  const erfc = (x) => (x < -2 ? 2 - erfc(-x) : x < 2 ? 1 - erf(x) : exp(-x * x) / (ROOT_PI * (x + tail(x))));
  const log_erfc = (x) => (abs(x) < 0.5 ? log1p(-erf(x)) : x < 2 ? log(erfc(x)) : -x * x - log(ROOT_PI * (x + tail(x))));
  const log_half_erfc = (x) => (x < 0 ? log1p(-erfc(-x) / 2) : log_erfc(x) - LOG_2);
  const erfc_hazard = (x) => (x < 2 ? (2 * exp(-x * x)) / (ROOT_PI * erfc(x)) : 2 * (x + tail(x)));
  const erfc_hazard_slope = (x) => erfc_hazard(x) * (x < 2 ? erfc_hazard(x) - 2 * x : 2 * tail(x));

  // The gamma function, by Stirling's series beyond 16.
  const far = (x, small) => {
    for (; x < 16; x++) small(x);
    return x;
  };
  const lgamma = (x) => {
    if (x <= 0) return x === Math.floor(x) ? inf : log(PI / abs(sin(PI * x))) - lgamma(1 - x);
    let below = 1;
    const y = far(x, (z) => (below *= z)), r = 1 / (y * y);
    const rest = (1 / 12 - r * (1 / 360 - r * (1 / 1260 - r * (1 / 1680 - r * (1 / 1188))))) / y;
    return (y - 0.5) * log(y) - y + log(2 * PI) / 2 + rest - log(below);
  };
  const gamma = (x) => (x < 0.5 ? PI / (sin(PI * x) * gamma(1 - x)) : exp(lgamma(x)));
  const digamma = (x) => {
    if (x <= 0) return x === Math.floor(x) ? nan : digamma(1 - x) - PI / tan(PI * x);
    let below = 0;
    const y = far(x, (z) => (below += 1 / z)), r = 1 / (y * y);
    return log(y) - 0.5 / y - r * (1 / 12 - r * (1 / 120 - r * (1 / 252 - r * (1 / 240 - r / 132)))) - below;
  };
  const trigamma = (x) => {
    if (x <= 0) return x === Math.floor(x) ? inf : (PI / sin(PI * x)) ** 2 - trigamma(1 - x);
    let below = 0;
    const y = far(x, (z) => (below += 1 / (z * z))), r = 1 / (y * y);
    return (1 + 0.5 / y + r * (1 / 6 - r * (1 / 30 - r * (1 / 42 - r * (1 / 30 - (r * 5) / 66))))) / y + below;
  };
  const tetragamma = (x) => {
    let below = 0;
    const y = far(x, (z) => (below += 2 / (z * z * z))), r = 1 / (y * y);
    return -r * (1 + 1 / y + r * (1 / 2 - r * (1 / 6 - r * (1 / 6 - r * (3 / 10 - (r * 5) / 6))))) - below;
  };

  // Modified Bessel functions: the series to 30, the asymptotic expansion beyond.
  const besseli_scaled = (order, x) => {
    const z = abs(x), odd = order % 2 === 1 && x < 0 ? -1 : 1;
    let term = 1, total = 1;
    if (z <= 30) {
      for (let n = 1; n <= order; n++) term *= z / 2 / n;
      total = term;
      for (let n = 1; n < 90; n++) total += term *= (z * z) / 4 / n / (n + order);
      return odd * total * exp(-z);
    }
    for (let n = 1; n < 14; n++) total += term *= -(4 * order * order - (2 * n - 1) ** 2) / (8 * n * z);
    return (odd * total) / sqrt(2 * PI * z);
  };
  const besseli = (order) => (x) => besseli_scaled(order, x) * exp(abs(x));
  const [besseli0, besseli1, besseli2] = [0, 1, 2].map(besseli);
  const log_besseli0 = (x) => {
    if (abs(x) > 1) return abs(x) + log(besseli_scaled(0, x));
    let term = 1, total = 0;
    for (let n = 1; n < 20; n++) total += term *= (x * x) / 4 / n / n;
    return log1p(total);
  };
  const besseli_ratio = (x) => besseli_scaled(1, x) / besseli_scaled(0, x);
  const besseli_ratio_slope = (x) => (1 + besseli_scaled(2, x) / besseli_scaled(0, x)) / 2 - besseli_ratio(x) ** 2;

  return {
    abs, acos, acosh, argmax, asin, asinh, atan, atanh, besseli0, besseli1, besseli2, besseli_ratio, besseli_ratio_slope,
    bose, boxcox1p, boxcox1p_square, cos, cosh, digamma, entropy_gap, erf, erfc, erfc_hazard, erfc_hazard_slope, exp,
    expm1, expm1_minus_x, gamma, hypot1, hypot1m1, inf, larger, largest, lgamma, log, log1mexp, log1p, log1p_square,
    log_besseli0, log_erfc, log_gap, log_half_erfc, log_ratio, logaddexp, logcosh, nan, opposite, over_expm1, power,
    product, ratio0, scale_of, sech2, select, shift, sigmoid, sign, sin, sinh, smaller, smallest, softplus, sqrt, sum,
    tan, tanh, tetragamma, tilt, times0, trigamma, x_minus_log1p,
  };
})();

symloss.define = (name, loss) => (symloss.losses[name] = loss);
