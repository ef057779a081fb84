import Cluster
import Core
import Net

/// Keeps the highest epoch of a leader that a node has seen, so that it refuses lower ones after a restart too. Written at
/// every change of the leader, on the control loop: a line of some fifty bytes.
struct LeadFile {
  private static let longest = 256

  private let folder: String
  private var path: String { folder + "/lead" }

  /// The file in a node's folder, which is made when there is something to keep.
  init(folder: String) { self.folder = folder }

  /// What was kept; nil where nothing was, or nothing that can be an epoch.
  func read() -> EpochMark? {
    guard let bytes = try? DurableFile.read(path, limit: Self.longest) else { return nil }
    let words = String(decoding: bytes, as: UTF8.self).split(whereSeparator: { $0 == " " || $0 == "\n" })
    guard words.count == 2, let epoch = Int64(words[0]) else { return nil }
    return EpochMark(epoch: epoch, owner: String(words[1]))
  }

  /// Keeps a mark. What cannot be kept is lost with the process, which is no reason to stop: the store and the clock are
  /// the first two bounds of an epoch.
  func write(_ mark: EpochMark) {
    do throws(DurableFile.Failure) {
      try DurableFile.makeFolder(folder)
      try DurableFile.write(Array("\(mark.epoch) \(mark.owner)\n".utf8), to: path)
    } catch {}
  }
}
