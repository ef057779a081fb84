import Cluster
import Foundation
import Net
import Testing

@testable import Gateway

@Suite("LeadFile")
final class LeadFileTests {
  private let folder = FileManager.default.temporaryDirectory.appending(path: "sluice-lead-\(UUID().uuidString)").path

  deinit { try? FileManager.default.removeItem(atPath: folder) }

  @Test(
    "What can be no epoch is not believed",
    arguments: [
      "", "7", "7 x", "0 0123456789abcdef", "-1 0123456789abcdef", "9007199254740992 0123456789abcdef", "7 a b",
    ])
  func malformed(text: String) throws {
    try DurableFile.makeFolder(folder)
    try DurableFile.write(Array(text.utf8), to: folder + "/lead")
    #expect(LeadFile(folder: folder).read() == nil)
  }

  @Test("A mark is read back as it was kept last, and nothing where nothing was kept")
  func kept() throws {
    let file = LeadFile(folder: folder)
    #expect(file.read() == nil)
    for epoch in [1_800_000_000_000, 1_800_000_000_001] as [Int64] {
      let mark = try #require(EpochMark(epoch: epoch, owner: "0123456789abcdef"))
      file.write(mark)
      #expect(file.read() == mark)
    }
  }

  @Test("A folder that cannot be written to stops nobody")
  func readOnly() throws {
    try DurableFile.makeFolder(folder)
    try DurableFile.write([], to: folder + "/file")
    let file = LeadFile(folder: folder + "/file/below")
    file.write(try #require(EpochMark(epoch: 1, owner: "0123456789abcdef")))
    #expect(file.read() == nil)
  }
}
