import Foundation
import Net
import Testing

@Suite("DurableFile")
final class DurableFileTests {
  private let folder = FileManager.default.temporaryDirectory.appending(
    path: "sluice-file-\(UUID().uuidString.prefix(8))"
  )
  .path

  deinit { try? FileManager.default.removeItem(atPath: folder) }

  @Test("What is missing, a folder, or too large is not read")
  func refusals() throws {
    try DurableFile.makeFolder(folder + "/a/b")
    #expect(throws: DurableFile.Failure.missing) { try DurableFile.read(self.folder + "/none", limit: 10) }
    #expect(throws: DurableFile.Failure.notAFile) { try DurableFile.read(self.folder + "/a", limit: 1 << 20) }
    try DurableFile.write([1, 2, 3], to: folder + "/file")
    #expect(throws: DurableFile.Failure.tooLarge) { try DurableFile.read(self.folder + "/file", limit: 2) }
    #expect(throws: DurableFile.Failure.missing) { try DurableFile.write([], to: self.folder + "/none/file") }
  }

  @Test("A file that cannot be replaced keeps its content, and nothing unfinished stays")
  func failedWrite() throws {
    try DurableFile.makeFolder(folder)
    try DurableFile.makeFolder(folder + "/place")
    // A folder cannot be replaced by a file.
    #expect(throws: DurableFile.Failure.self) { try DurableFile.write([1], to: self.folder + "/place") }
    #expect(try DurableFile.names(in: folder) == ["place"])
  }

  @Test("What was written is read again, by its owner only, also over what a crash left unfinished")
  func roundTrip() throws {
    try DurableFile.makeFolder(folder)
    let path = folder + "/file"
    try Data([9, 9, 9]).write(to: URL(filePath: path + DurableFile.unfinishedSuffix))
    for content in [[1, 2, 3], [], [UInt8](repeating: 5, count: 3_000_000)] as [[UInt8]] {
      try DurableFile.write(content, to: path)
      #expect(try DurableFile.read(path, limit: 3_000_000) == content)
    }
    #expect(try DurableFile.names(in: folder) == ["file"])
    let attributes = try FileManager.default.attributesOfItem(atPath: path)
    #expect(attributes[.posixPermissions] as? Int == 0o600)
    try DurableFile.remove(path)
    try DurableFile.remove(path)
    #expect(try DurableFile.names(in: folder).isEmpty)
  }
}
