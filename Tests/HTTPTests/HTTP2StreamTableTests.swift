import Core
import Simulation
import Testing

@testable import HTTP

@Suite("HTTP2StreamTable")
struct HTTP2StreamTableTests {
  /// Streams that last long come to stand where others belong, since identifiers only grow.
  @Test("It finds what is in it and nothing else, whatever stands where others belong", arguments: [UInt64](1...6))
  func finds(seed: UInt64) {
    var random = SeededGenerator(seed: seed)
    var table = HTTP2StreamTable()
    var known: [UInt32: HTTP2Stream] = [:]
    var gone: [UInt32] = []
    var next: UInt32 = 1
    for step in 0..<800 {
      if known.count < 3 || (known.count < 40 && random.chance(0.51)) {
        let stream = HTTP2Stream()
        stream.id = next
        // Some lie so far apart that they share a home in tables of any size used here.
        next += random.chance(0.25) ? 2 * 64 : 2
        table.insert(stream)
        known[stream.id] = stream
      } else if let id = known.keys.sorted().randomElement(using: &random) {
        table.remove(id)
        known[id] = nil
        gone.append(id)
      }
      if step % 7 == 0 { table.remove(next) }
      #expect(table.count == known.count)
      #expect(known.allSatisfy { table[$0.key] === $0.value })
      #expect(gone.suffix(50).allSatisfy { table[$0] == nil })
      #expect(Set(table.all.map(\.id)) == Set(known.keys))
    }
    table.shrink()
    #expect(known.allSatisfy { table[$0.key] === $0.value })
    for id in known.keys { table.remove(id) }
    table.shrink()
    #expect(table.count == 0 && table.footprint == 0 && table[1] == nil)
  }
}
