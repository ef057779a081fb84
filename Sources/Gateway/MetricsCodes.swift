/// The problem codes that are counted apart, found by their text: refusing must stay cheap under attack.
///
/// Length, first and last eight bytes are mixed to a print; no two known codes share one. An unknown code that does
/// would be counted as the known one, which is as harmless as it is unlikely.
final class ProblemCodes: Sendable {
  let texts: ContiguousArray<StaticString>
  private let prints: ContiguousArray<UInt64>
  /// Open addressing; the index of a code, or −1.
  private let table: ContiguousArray<Int32>

  init(_ texts: [StaticString]) {
    var size = 16
    while size < texts.count * 4 { size *= 2 }
    var table = ContiguousArray<Int32>(repeating: -1, count: size)
    var prints: ContiguousArray<UInt64> = []
    for (index, text) in texts.enumerated() {
      let print = Self.print(of: text)
      precondition(!prints.contains(print), "two problem codes look alike")
      prints.append(print)
      var place = Int(truncatingIfNeeded: print) & (size - 1)
      while table[place] >= 0 { place = (place + 1) & (size - 1) }
      table[place] = Int32(index)
    }
    self.texts = ContiguousArray(texts)
    self.prints = prints
    self.table = table
  }

  /// One for each code and one, the last, for all others.
  var count: Int { texts.count + 1 }

  func index(of code: StaticString) -> Int {
    let print = Self.print(of: code)
    let mask = table.count &- 1
    var place = Int(truncatingIfNeeded: print) & mask
    while table[place] >= 0 {
      let index = Int(table[place])
      if prints[index] == print { return index }
      place = (place &+ 1) & mask
    }
    return texts.count
  }

  @inline(__always)
  private static func print(of text: StaticString) -> UInt64 {
    let count = text.utf8CodeUnitCount
    var first: UInt64 = 0
    var last: UInt64 = 0
    if count >= 8 {
      // A literal's bytes live as long as the process; both loads lie inside.
      let start = unsafe UnsafeRawPointer(text.utf8Start)
      unsafe first = start.loadUnaligned(as: UInt64.self)
      unsafe last = start.loadUnaligned(fromByteOffset: count &- 8, as: UInt64.self)
    } else {
      first = text.withUTF8Buffer { unsafe $0.reduce(0) { $0 << 8 | UInt64($1) } }
    }
    let mixed = (first ^ UInt64(truncatingIfNeeded: count) &* 0x9e37_79b9_7f4a_7c15)
      .multipliedFullWidth(by: last ^ 0xc2b2_ae3d_27d4_eb4f)
    return mixed.high ^ mixed.low
  }
}
