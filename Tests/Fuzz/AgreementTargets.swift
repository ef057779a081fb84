import Cluster
import Core

/// What reading what nodes write for each other promises, whoever wrote it. What must be signed is signed here, so that what
/// lies behind the signature is reached.
enum AgreementTargets {
  /// The secret of the corpora.
  private static let secrets = ClusterSecrets(secret: Array("the secret of the corpora".utf8))

  private static func array(_ bytes: RawSpan) -> [UInt8] {
    unsafe bytes.withUnsafeBytes { unsafe Array($0) }
  }

  /// No head, or one that is written as it was read.
  @Sendable
  static func head(_ bytes: RawSpan) {
    let content = array(bytes)
    guard let signed = try? SignedHead(content + secrets.sign(content, for: .head), secrets) else { return }
    precondition(signed.head.content == content)
  }

  /// The values of a body's references, behind their seal.
  @Sendable
  static func body(_ bytes: RawSpan) {
    let text = Array("{}".utf8)
    let name = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    let sealed = secrets.seal(array(bytes), for: .value, name: name)
    func block(_ bytes: [UInt8]) -> [UInt8] {
      (0..<4).reversed().map { UInt8(truncatingIfNeeded: bytes.count >> ($0 * 8)) } + bytes
    }
    do throws(RevisionFault) {
      let body = try RevisionBody(Array("SLB1".utf8) + block(text) + block(sealed), secrets)
      precondition(body.text == text)
    } catch { precondition(error == .malformed) }
  }

  /// No proposal, or one that is written as it was read.
  @Sendable
  static func proposal(_ bytes: RawSpan) {
    let content = array(bytes)
    let coded = content + secrets.code(of: content, for: .head)
    guard let proposal = RevisionProposal(coded, secrets) else { return }
    precondition(proposal.encoded(secrets) == coded)
  }

  /// What is published of an ack: none, or one of a known state.
  @Sendable
  static func ack(_ bytes: RawSpan) {
    let text = String(decoding: array(bytes), as: UTF8.self)
    guard let ack = RevisionAck(published: text) else { return }
    precondition(text.hasPrefix(ack.node) && text.hasSuffix(ack.reason))
  }

  /// No file, or one that is written as it was read.
  @Sendable
  static func lastGood(_ bytes: RawSpan) {
    let bytes = array(bytes)
    guard let file = try? LastGood(bytes, secrets) else { return }
    precondition(file.bytes == bytes)
  }

  /// No record, or one that says the same once it was written again.
  @Sendable
  static func member(_ bytes: RawSpan) {
    guard let record = MemberRecord(array(bytes)) else { return }
    precondition(MemberRecord(record.encoded) == record)
  }

  /// A line that nobody has signed is never part of a chain, whatever stands in it.
  @Sendable
  static func auditLine(_ bytes: RawSpan) {
    let bytes = array(bytes)
    var chain = AuditChain(keys: [])
    precondition(chain.take(bytes) != nil && chain.take(bytes) != nil)
    if let line = AuditChain.line(in: bytes) { precondition(bytes.suffix(line.count) == line[...]) }
  }
}
