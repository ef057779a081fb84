import Core
import Crypto
import Pipeline

/// All facts at one place of the log: a manifest that the cluster has signed, and chunks that are named by their digests. The
/// same for the store and for a node's disk; what is not exactly as it was signed is not used.
public struct FactSnapshot: Sendable {
  /// The most bytes of a chunk.
  static let chunkBytes = 1 << 20
  /// The most chunks, and so four gigabytes of facts.
  static let chunkLimit = 4096
  /// What every manifest begins with.
  private static let title = Array("sluice facts 1\n".utf8)
  private static let signatureBytes = 64
  private static let revocationBytes = 16
  private static let revocationType = UInt8(ascii: "r")
  private static let keyType = UInt8(ascii: "k")

  /// Where in the log it was made.
  let position: FactPosition
  /// The signed text.
  let manifest: [UInt8]
  /// The chunks in order; one is not here where only its digest is known.
  let chunks: [Chunk]

  struct Chunk: Sendable {
    let digest: Digest
    let bytes: [UInt8]
  }

  /// What a manifest says.
  struct Outline: Equatable, Sendable {
    let position: FactPosition
    let chunks: [Digest]

    static func == (left: Outline, right: Outline) -> Bool {
      left.position == right.position && left.chunks.elementsEqual(right.chunks, by: ==)
    }
  }

  /// What a snapshot holds.
  public struct Content: Sendable {
    /// Where in the log it was made.
    let position: FactPosition
    /// What is revoked.
    public let revocations: [Revocation]
    /// The keys.
    public let keys: [IssuedKey]
  }

  /// SHA-256 of the manifest, in hexadecimal digits.
  var digest: String { SHA256().digest(of: RawSpan(manifest)).hexadecimal }

  // MARK: Making

  /// The snapshot of `view` at `position`. Linear, some 100 ns a fact; for a thread of its own.
  init(_ view: FactView, at position: FactPosition, now: UInt32, cluster: String, secrets: ClusterSecrets) {
    var chunks: [Chunk] = []
    let hasher = SHA256()
    var writer = FactWriter()
    func close() {
      guard writer.bytes.count > 1 else { return }
      chunks.append(Chunk(digest: hasher.digest(of: RawSpan(writer.bytes)), bytes: writer.bytes))
    }
    func begin(_ type: UInt8) {
      writer = FactWriter()
      writer.byte(type)
    }
    begin(Self.revocationType)
    // What is packed comes first and in the same order each time, so that its chunks stay the same.
    view.revocations.forEach(now: now) { revocation in
      if writer.bytes.count + Self.revocationBytes > Self.chunkBytes {
        close()
        begin(Self.revocationType)
      }
      writer.integer(revocation.mark.bits)
      writer.integer(revocation.issuedBefore)
      writer.integer(revocation.expires)
    }
    close()
    begin(Self.keyType)
    view.keys.forEach { _, key in
      let record = FactRecord.key(key).encoded
      if writer.bytes.count + record.count + 2 > Self.chunkBytes {
        close()
        begin(Self.keyType)
      }
      writer.integer(UInt16(record.count))
      writer.append(record)
      return true
    }
    close()
    self.chunks = chunks
    self.position = position
    manifest = Self.manifest(position, chunks.map(\.digest), cluster, secrets)
  }

  private static func manifest(
    _ position: FactPosition, _ chunks: [Digest], _ cluster: String, _ secrets: ClusterSecrets
  ) -> [UInt8] {
    var writer = FactWriter()
    writer.append(title)
    writer.text(cluster)
    writer.integer(UInt64(position.epoch))
    writer.integer(UInt64(position.sequence))
    writer.text(String(decoding: position.chain, as: UTF8.self))
    writer.integer(UInt32(chunks.count))
    for chunk in chunks { for word in chunk.allWords { writer.integer(word) } }
    writer.append(secrets.sign(writer.bytes, for: .snapshot))
    return writer.bytes
  }

  // MARK: Reading

  /// What a manifest says; nil unless this cluster has signed exactly this.
  static func outline(_ manifest: [UInt8], cluster: String, secrets: ClusterSecrets) -> Outline? {
    guard manifest.count > title.count + signatureBytes, manifest.starts(with: title) else { return nil }
    let text = Array(manifest.dropLast(signatureBytes))
    guard secrets.verifies(text, Array(manifest.suffix(signatureBytes)), for: .snapshot) else { return nil }
    return outline(signed: text, cluster: cluster)
  }

  /// The same of a manifest whose signature is right, or does not matter.
  static func outline(signed text: [UInt8], cluster: String) -> Outline? {
    var reader = FactReader(text)
    guard reader.take(title.count) == title, reader.text() == cluster else { return nil }
    let (epoch, sequence): (UInt64, UInt64) = (reader.integer(), reader.integer())
    let chain = Array(reader.text().utf8)
    let count: UInt32 = reader.integer()
    guard count <= chunkLimit, reader.rest == Int(count) * 32, let epoch = Int64(exactly: epoch),
      let sequence = Int64(exactly: sequence)
    else { return nil }
    var chunks: [Digest] = []
    for _ in 0..<count {
      chunks.append(Digest(words: (reader.integer(), reader.integer(), reader.integer(), reader.integer())))
    }
    guard reader.isAtEnd else { return nil }
    return Outline(position: FactPosition(epoch: epoch, sequence: sequence, chain: chain), chunks: chunks)
  }

  /// What a single chunk holds; nil where it is none. That it is the right one is for whoever reads a whole snapshot to say.
  public static func content(ofChunk bytes: [UInt8]) -> Content? {
    var (revocations, keys): ([Revocation], [IssuedKey]) = ([], [])
    guard read(bytes, &revocations, &keys) else { return nil }
    return Content(position: .none, revocations: revocations, keys: keys)
  }

  /// Whether the text of a manifest can be read, whoever signed it.
  public static func isManifest(_ text: [UInt8], cluster: String) -> Bool {
    outline(signed: text, cluster: cluster) != nil
  }

  /// What the chunks of an outline hold; nil where one of them is not what was signed.
  static func content(_ outline: Outline, chunks: [[UInt8]]) -> Content? {
    guard chunks.count == outline.chunks.count else { return nil }
    let hasher = SHA256()
    var revocations: [Revocation] = []
    var keys: [IssuedKey] = []
    for (digest, bytes) in zip(outline.chunks, chunks) {
      guard hasher.digest(of: RawSpan(bytes)) == digest, read(bytes, &revocations, &keys) else { return nil }
    }
    return Content(position: outline.position, revocations: revocations, keys: keys)
  }

  /// Reads one chunk; false where it is none.
  static func read(_ bytes: [UInt8], _ revocations: inout [Revocation], _ keys: inout [IssuedKey]) -> Bool {
    guard bytes.count <= chunkBytes else { return false }
    var reader = FactReader(bytes)
    switch reader.byte() {
    case revocationType:
      while reader.rest >= revocationBytes {
        guard let mark = RevocationMark(bits: reader.integer()) else { return false }
        let issuedBefore: UInt32 = reader.integer()
        revocations.append(Revocation(mark, expires: reader.integer(), issuedBefore: issuedBefore))
      }
    case keyType:
      while reader.rest >= 2 {
        let count: UInt16 = reader.integer()
        guard case .key(let key)? = FactRecord(reader.take(Int(count))) else { return false }
        keys.append(key)
      }
    default: return false
    }
    return reader.isAtEnd
  }
}

extension Digest {
  var allWords: [UInt64] { [words.0, words.1, words.2, words.3] }
}

extension FactSnapshot.Content: RevocationSource {
  /// See ``RevocationSource``.
  public func forEach(_ body: (Revocation) -> Void) { for revocation in revocations { body(revocation) } }
}
