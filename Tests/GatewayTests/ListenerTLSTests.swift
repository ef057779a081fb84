import Core
import Crypto
import Pipeline
import Simulation
import Testing

@testable import Gateway

@Suite struct ListenerTLSTests {
  /// Files that are replaced while they are read.
  private final class Files {
    var certificate = TestCertificates.server
    var key = TestCertificates.serverKey
    /// What happens once both have been read.
    var afterwards: () -> Void = {}
    private var reads = 0

    func read(_ path: String) -> Result<String, SecretFault> {
      let text = path.hasSuffix("site.pem") ? certificate : key
      reads += 1
      if reads == 2 { afterwards() }
      return .success(String(decoding: text, as: UTF8.self))
    }
  }

  private static let node = """
    { listeners: [{
        address: "127.0.0.1:8443", tls: { certificates: [{ certificate: "site.pem", key: "site.key" }] } }] }
    """

  @Test("A server name that would stand for all names below it is refused", arguments: [".a.test", "a.test"])
  func serverName(name: String) {
    let text = """
      { listeners: ["127.0.0.1:8080"], routes: [{ upstream: "up" }],
        upstreams: { up: { endpoints: ["a.test:443"], tls: { serverName: "\(name)" } } } }
      """
    let found = Blueprint.read(text: Array(text.utf8)) { _ in .failure(SecretFault("there is none")) }.diagnostics
    #expect(found.contains { $0.text(file: "").contains("does not begin with a dot") } == name.hasPrefix("."))
  }

  @Test("Files that are replaced behind the read are read again")
  func replacedBehindTheRead() throws {
    let files = Files()
    files.afterwards = {
      files.certificate = TestCertificates.serverRSA
      files.key = TestCertificates.serverRSAKey
    }
    let sections = NodeSections.read(text: Array(Self.node.utf8)) { source in
      guard case .file(let path) = source else { return .failure(SecretFault("there is no such thing")) }
      return files.read(path)
    }.sections
    let first = try #require(sections?.listeners[0].tls)
    #expect(first.credentials.map(\.kind) == [.ecdsa])
    let second = try #require(first.renewed(FileReadings(files.read)).tls)
    #expect(second.credentials.map(\.kind) == [.rsa])
    let third = second.renewed(FileReadings(files.read))
    #expect(third.tls == nil && third.faults.isEmpty)
  }
}
