import Core
import Foundation
import Fuzz
import Testing

@Suite("Fuzz corpora")
struct CorpusTests {
  static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
    .appendingPathComponent("Fuzz/Corpus")

  static func files(_ name: String) -> [URL] {
    let folder = root.appendingPathComponent(name)
    return ((try? FileManager.default.contentsOfDirectory(at: folder, includingPropertiesForKeys: nil)) ?? [])
      .sorted { $0.path < $1.path }
  }

  @Test("Every target has at least three corpus files", arguments: FuzzTable.targets.map(\.name))
  func hasCorpus(name: String) {
    #expect(Self.files(name).count >= 3)
  }

  @Test("Every corpus folder has a target")
  func hasTarget() throws {
    let folders = try FileManager.default.contentsOfDirectory(atPath: Self.root.path)
    for folder in folders { #expect(FuzzTable.target(folder) != nil, "\(folder) is fuzzed by nothing") }
  }

  @Test("Every corpus file keeps the promises of its target", arguments: FuzzTable.targets.map(\.name))
  func replays(name: String) throws {
    let target = try #require(FuzzTable.target(name))
    for file in Self.files(name) {
      let bytes = [UInt8](try Data(contentsOf: file))
      target.run(RawSpan(bytes))
      // Cut short and with one byte changed, it is the nearest thing to bad luck on the wire.
      for count in stride(from: 0, to: min(bytes.count, 300), by: 7) { target.run(RawSpan(Array(bytes[..<count]))) }
      for index in stride(from: 0, to: min(bytes.count, 300), by: 7) {
        var changed = bytes
        changed[index] ^= UInt8(truncatingIfNeeded: 1 << (index % 8))
        target.run(RawSpan(changed))
      }
    }
  }
}
