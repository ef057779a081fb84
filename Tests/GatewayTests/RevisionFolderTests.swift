import Cluster
import Core
import Foundation
import Gateway
import Testing

@Suite("RevisionFolder")
struct RevisionFolderTests {
  /// Does something with a folder that is gone afterwards.
  private func withFolder(_ body: (String) throws -> Void) rethrows {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("sluice-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: path) }
    try body(path)
  }

  private func keep(_ text: String, _ revision: Int64, in folder: RevisionFolder) -> String? {
    let outcome = Outcome()
    folder.keep(Array(text.utf8), revision: revision) { fault in
      outcome.fault = fault
      outcome.isKnown.signal()
    }
    return outcome.isKnown.wait(timeout: .now() + 10) == .success ? outcome.fault : "never called"
  }

  private final class Outcome: @unchecked Sendable {
    // Read after it was signalled that it is known, and written once before.
    var fault: String?
    let isKnown = DispatchSemaphore(value: 0)
  }

  private func texts(_ folder: RevisionFolder) -> [String] {
    folder.load().map { String(decoding: $0.bytes, as: UTF8.self) }
  }

  @Test("a folder that cannot be made is a remark, and reading it finds nothing")
  func saysWhatIsWrong() throws {
    try withFolder { path in
      try Data().write(to: URL(fileURLWithPath: path))
      let folder = RevisionFolder(path)
      #expect(folder.load().isEmpty)
      #expect(keep("one", 1, in: folder)?.hasPrefix(path) == true)
    }
  }

  @Test("the three newest are kept, for the process's user alone")
  func keepsThree() throws {
    try withFolder { path in
      let folder = RevisionFolder(path)
      for revision in Int64(8)...12 { #expect(keep("r\(revision)", revision, in: folder) == nil) }
      #expect(texts(folder) == ["r12", "r11", "r10"])
      let attributes = try FileManager.default.attributesOfItem(atPath: path)
      #expect(attributes[.posixPermissions] as? Int == 0o700)
      for name in try FileManager.default.contentsOfDirectory(atPath: path) {
        let attributes = try FileManager.default.attributesOfItem(atPath: "\(path)/\(name)")
        #expect(attributes[.posixPermissions] as? Int == 0o600)
      }
    }
  }

  @Test(
    "wherever a crash stops the writing of the next, what was there before is found and the next can be kept",
    arguments: [nil, 0, 1, 2], [false, true])
  func survivesCrashes(unfinishedBytes: Int?, oldOnesAreLeft: Bool) throws {
    try withFolder { path in
      let folder = RevisionFolder(path)
      for revision in Int64(1)...3 { #expect(keep("r\(revision)", revision, in: folder) == nil) }
      // The next as it is while it is written, or renamed already while the oldest is still there.
      let name = "\(path)/revision-0000000000000000004"
      if let unfinishedBytes {
        try Data("r4".utf8.prefix(unfinishedBytes)).write(to: URL(fileURLWithPath: name + ".unfinished"))
      }
      if oldOnesAreLeft { try Data("r4".utf8).write(to: URL(fileURLWithPath: name)) }
      #expect(texts(folder) == (oldOnesAreLeft ? ["r4", "r3", "r2", "r1"] : ["r3", "r2", "r1"]))
      #expect(keep("r5", 5, in: folder) == nil)
      #expect(texts(folder) == (oldOnesAreLeft ? ["r5", "r4", "r3"] : ["r5", "r3", "r2"]))
    }
  }

  @Test("a large one is written by a thread of its own")
  func writesLargeOnesElsewhere() async throws {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("sluice-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: path) }
    let folder = RevisionFolder(path)
    let bytes = [UInt8](repeating: 65, count: 1 << 20)
    let fault = await withCheckedContinuation { done in
      folder.keep(bytes, revision: 1) { done.resume(returning: $0) }
    }
    #expect(fault == nil)
    #expect(folder.load().map(\.bytes) == [bytes])
  }
}
