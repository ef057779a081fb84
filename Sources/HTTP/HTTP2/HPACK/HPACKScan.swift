import CLinux

enum HPACKScan {
  /// Whether there is no control byte but tabs among `count` bytes, behind which 64 must be readable.
  @unsafe
  static func holdsNoControl(_ start: UnsafePointer<UInt8>, count: Int) -> Bool {
    var offset = 0
    while offset < count {
      var stops = unsafe sluice_control64(start + offset)
      if count &- offset < 64 { stops &= (1 &<< UInt64(truncatingIfNeeded: count &- offset)) &- 1 }
      if stops != 0, unsafe holdsOtherThanTabs(start + offset, stops) { return false }
      offset &+= 64
    }
    return true
  }

  @unsafe
  @inline(never)
  private static func holdsOtherThanTabs(_ start: UnsafePointer<UInt8>, _ stops: UInt64) -> Bool {
    var stops = stops
    while stops != 0 {
      if unsafe start[stops.trailingZeroBitCount] != 9 { return true }
      stops &= stops &- 1
    }
    return false
  }
}
