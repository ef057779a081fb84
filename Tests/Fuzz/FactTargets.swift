import Cluster
import Core
import Pipeline

/// What reading facts promises, whoever wrote them.
enum FactTargets {
  private static func array(_ bytes: RawSpan) -> [UInt8] {
    unsafe bytes.withUnsafeBytes { unsafe Array($0) }
  }

  /// No record, or one that is written as it was read.
  @Sendable
  static func record(_ bytes: RawSpan) {
    let bytes = array(bytes)
    guard let record = FactRecord(bytes) else { return }
    precondition(record.encoded == bytes)
  }

  /// A chunk of a snapshot, and a manifest: refused, or all of it is good.
  @Sendable
  static func snapshot(_ bytes: RawSpan) {
    let bytes = array(bytes)
    _ = FactSnapshot.isManifest(bytes, cluster: "c")
    guard let content = FactSnapshot.content(ofChunk: bytes) else { return }
    var book = RevocationBook()
    _ = book.insert(content.revocations)
    for revocation in content.revocations where revocation.expires > 1 {
      precondition(book.current.holds(revocation.mark, now: revocation.expires - 1) || revocation.issuedBefore > 0)
    }
    var keys = IssuedKeyBook()
    _ = keys.put(content.keys)
    for key in content.keys {
      guard let held = keys.current.key(key.id) else { preconditionFailure("a key was lost") }
      precondition(held.version >= key.version)
    }
  }

  /// The same text is read the same way, and an id that is found in it writes the same characters.
  @Sendable
  static func keyText(_ bytes: RawSpan) {
    guard case .key(let id) = KeyText.read(bytes) else { return }
    let text = array(bytes)
    precondition(Array(id.text.utf8) == Array(text[4..<14]))
  }
}
