/// Decimal digits of small numbers, all at once: two halves, four pairs, eight digits in one word.
public enum DecimalDigits {
  /// What numbers must be below.
  @inlinable
  public static var bound: UInt64 { 100_000_000 }

  /// The eight digits of a number below ``bound``, the first in the lowest byte, as ASCII.
  @inlinable
  @inline(__always)
  public static func eight(_ value: UInt64) -> UInt64 { values(value) | 0x3030_3030_3030_3030 }

  /// The digits of a number below ``bound`` without leading zeros, the first in the lowest byte, and how many they are.
  @inlinable
  @inline(__always)
  public static func significant(_ value: UInt64) -> (digits: UInt64, count: Int) {
    let digits = value < 10_000 ? values(ofFour: value) : values(value)
    // The last digit stands even where it is zero.
    let zeros = (digits | 1 &<< 56).trailingZeroBitCount & ~7
    return ((digits | 0x3030_3030_3030_3030) &>> UInt64(zeros), 8 &- zeros &>> 3)
  }

  /// The last four of eight digits, the others zero.
  @inlinable
  @inline(__always)
  static func values(ofFour value: UInt64) -> UInt64 {
    let hundreds = (value &* 10_486) &>> 20
    let pairs = value &<< 16 &- hundreds &* (100 &<< 16 &- 1)
    let tens = (pairs &* 103) &>> 10 & 0x000f_000f
    return (pairs &<< 8 &- tens &* (10 &<< 8 &- 1)) &<< 32
  }

  @inlinable
  @inline(__always)
  static func values(_ value: UInt64) -> UInt64 {
    assert(value < bound)
    let upper = value / 10_000
    let halves = value &<< 32 &- upper &* (10_000 &<< 32 &- 1)
    // 10486 / 2^20 is a hundredth, and 103 / 2^10 a tenth, as exactly as four and two digits need it.
    let hundreds = (halves &* 10_486) &>> 20 & 0x0000_007f_0000_007f
    let pairs = halves &<< 16 &- hundreds &* (100 &<< 16 &- 1)
    let tens = (pairs &* 103) &>> 10 & 0x000f_000f_000f_000f
    return pairs &<< 8 &- tens &* (10 &<< 8 &- 1)
  }
}
