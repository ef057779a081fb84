import Core
import Crypto
import Net

/// Where a node keeps its snapshot. Calls come from any thread, one behind the other, and may block.
protocol FactShelf: Sendable {
  /// Keeps a snapshot instead of the one before; answers with what went wrong.
  func write(_ snapshot: FactSnapshot) -> String?
  /// The snapshot; nil where there is none, or where anything of it is not as this cluster signed it.
  func read(cluster: String, secrets: ClusterSecrets) -> FactSnapshot.Content?
}

/// The folder in which a node keeps its snapshot: `manifest`, and chunks by their digests. Calls block for as long as the
/// disk takes.
struct FactFolder: FactShelf {
  private static let manifestBytes = 1 << 20
  private static let suffix = ".facts"

  let path: String

  /// Writes a snapshot: chunks that are not there yet, then the manifest, which makes it count; then what is of no more use
  /// is removed. Answers with what went wrong.
  func write(_ snapshot: FactSnapshot) -> String? {
    do throws(DurableFile.Failure) {
      try DurableFile.makeFolder(path)
      let present = Set(try DurableFile.names(in: path))
      let wanted = Set(snapshot.chunks.map { $0.digest.hexadecimal + Self.suffix })
      for chunk in snapshot.chunks where !present.contains(chunk.digest.hexadecimal + Self.suffix) {
        try DurableFile.write(chunk.bytes, to: "\(path)/\(chunk.digest.hexadecimal)\(Self.suffix)")
      }
      try DurableFile.write(snapshot.manifest, to: "\(path)/manifest")
      for name in present where name != "manifest" && !wanted.contains(name) {
        try DurableFile.remove("\(path)/\(name)")
      }
      return nil
    } catch { return "\(error)" }
  }

  /// See ``FactShelf``.
  func read(cluster: String, secrets: ClusterSecrets) -> FactSnapshot.Content? {
    do throws(DurableFile.Failure) {
      let manifest = try DurableFile.read("\(path)/manifest", limit: Self.manifestBytes)
      guard let outline = FactSnapshot.outline(manifest, cluster: cluster, secrets: secrets) else { return nil }
      var chunks: [[UInt8]] = []
      for digest in outline.chunks {
        chunks.append(
          try DurableFile.read("\(path)/\(digest.hexadecimal)\(Self.suffix)", limit: FactSnapshot.chunkBytes))
      }
      return FactSnapshot.content(outline, chunks: chunks)
    } catch { return nil }
  }
}
