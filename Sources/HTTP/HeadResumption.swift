import Core

/// Decides whether a head that was incomplete is worth another parse: only if the new bytes end it or spoil it. So a
/// sender of single bytes makes us look at each byte once, not at the whole head for each.
enum HeadResumption {
  @inline(never)
  static func isDue(_ window: borrowing HeadWindow, _ available: Int, scanned: Int, _ limits: HeadLimits) -> Bool {
    let lineLimit = limits.requestLineBytes + 2
    if available >= limits.headBytes || (scanned <= lineLimit && available > lineLimit) { return true }
    // One byte back: the CR that was the last byte then has its LF, or something else, only now.
    var block = min(scanned, available) - 1
    while block < window.count {
      var mask = window.control64(block)
      while mask != 0 {
        let at = block + mask.trailingZeroBitCount
        mask &= mask - 1
        if at >= window.count { break }
        switch window.byte(at) {
        case 9: continue
        case 13: if at + 1 < window.count && window.byte(at + 1) != 10 { return true }
        case 10:
          if at == 0 || window.byte(at - 1) != 13 { return true }
          // The first CRLF of all may stand before the request line; a parse tells.
          if at < 3 || window.byte(at - 2) == 10 { return true }
        default: return true
        }
      }
      block += 64
    }
    return false
  }
}
