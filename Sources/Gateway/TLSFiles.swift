import Core
import Crypto
import Pipeline

/// What files say, each read once: everything that one reader makes goes by the same contents, whatever replaces the files
/// meanwhile.
final class FileReadings {
  private let read: (String) -> Result<String, SecretFault>
  private var contents: [String: Result<String, SecretFault>] = [:]
  private var digests: [String: Digest] = [:]

  init(_ read: @escaping (String) -> Result<String, SecretFault>) { self.read = read }

  /// What a file says.
  func content(_ path: String) -> Result<String, SecretFault> {
    if let content = contents[path] { return content }
    let content = read(path)
    contents[path] = content
    return content
  }

  /// Of what the files say, in this order; one that cannot be read says nothing.
  func digest(of paths: [String]) -> Digest {
    let material = ByteBuffer()
    for path in paths { material.append(utf8: "\(digest(of: path).hexadecimal)\n") }
    return SHA256().digest(of: material.bytes)
  }

  private func digest(of path: String) -> Digest {
    if let digest = digests[path] { return digest }
    let digest = SHA256().digest(of: RawSpan(Array(((try? content(path).get()) ?? "").utf8)))
    digests[path] = digest
    return digest
  }
}

/// What is wrong with a file that TLS needs.
struct TLSFileFault {
  /// The option that names it, from `tls` on.
  let steps: [OptionStep]
  let message: String
  let fix: String
  /// It could not be read at all.
  var isMissing = false
}

/// Files on their way into what TLS is made from.
struct TLSFiles {
  let readings: FileReadings
  private(set) var faults: [TLSFileFault] = []

  init(_ readings: FileReadings) { self.readings = readings }

  mutating func fail(_ message: String, _ steps: [OptionStep], _ fix: String, isMissing: Bool = false) {
    faults.append(TLSFileFault(steps: steps, message: message, fix: fix, isMissing: isMissing))
  }

  mutating func text(_ path: String, _ steps: [OptionStep]) -> [UInt8]? {
    switch readings.content(path) {
    case .success(let text): return Array(text.utf8)
    case .failure(let fault):
      fail(fault.message, steps, "make \(path) readable for the process", isMissing: true)
      return nil
    }
  }

  /// An OCSP response: its DER form in Base64, with or without lines around and in it.
  mutating func staple(_ path: String, _ steps: [OptionStep]) -> [UInt8]? {
    guard let text = text(path, steps) else { return nil }
    let lines = String(decoding: text, as: UTF8.self).split(whereSeparator: \.isNewline)
    let joined = lines.filter { !$0.hasPrefix("-----") }.joined()
    if let der = Base64.decode(joined), der.first == 0x30 { return der }
    fail("\(path) holds no OCSP response in Base64", steps, "make it with: openssl base64 -in response.der")
    return nil
  }
}

extension OptionReader {
  /// Records what is wrong with the files of this section.
  mutating func record(_ faults: [TLSFileFault]) {
    for fault in faults {
      let place = place(at: fault.steps)
      if fault.isMissing, session.toleratesMissingSecrets {
        session.warn(fault.message, at: place, fix: fault.fix)
      } else {
        session.fail(fault.message, at: place, fix: fault.fix)
      }
    }
  }
}

extension TLSCredential {
  /// How long before its end a certificate is warned of, in seconds.
  private static let notice: Int64 = 14 * 86_400

  /// What people should know of it at `now`, which they call `name`: that it is not good any more, not yet, or not much
  /// longer. `peers` are those that it is shown to.
  func remark(_ name: String, for peers: String, at now: WallTime) -> String? {
    if expiresAt.seconds <= now.seconds { return "\(name) has expired: \(peers) refuse it" }
    if beginsAt.seconds > now.seconds { return "\(name) is not good yet" }
    let left = expiresAt.seconds - now.seconds
    return left < Self.notice ? "\(name) expires in \(left / 86_400) days" : nil
  }
}
