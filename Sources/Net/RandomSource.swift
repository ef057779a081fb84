/// Pseudo-random numbers for identifiers and jitter: wyrand, seeded by the kernel. Not for keys.
struct RandomSource: RandomNumberGenerator {
  private var state: UInt64

  /// A sequence that nobody can foresee.
  init() {
    var kernel = SystemRandomNumberGenerator()
    state = kernel.next()
  }

  mutating func next() -> UInt64 {
    state &+= 0xa076_1d64_78bd_642f
    let product = state.multipliedFullWidth(by: state ^ 0xe703_7ed1_a0b4_28db)
    return product.high ^ product.low
  }
}
