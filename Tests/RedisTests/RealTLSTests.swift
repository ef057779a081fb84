import Core
import Crypto
import Foundation
import Testing

@testable import Cluster

/// An authority, and certificates by it for a server called `redis.test` at 127.0.0.1, and for a client.
private final class Certificates {
  let folder: URL

  init() throws {
    folder = FileManager.default.temporaryDirectory.appending(path: "sluice-tls-\(UUID().uuidString.prefix(8))")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    try "subjectAltName=DNS:redis.test,IP:127.0.0.1".write(
      to: folder.appending(path: "names"), atomically: true, encoding: .utf8)
    for authority in ["ca", "other"] {
      try openssl(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=\(authority)"
          + " -keyout \(authority).key -out \(authority).pem")
    }
    for name in ["server", "client"] {
      try openssl(
        "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=\(name) -keyout \(name).key -out \(name).csr")
      try openssl(
        "x509 -req -in \(name).csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out \(name).pem")
    }
  }

  deinit { try? FileManager.default.removeItem(at: folder) }

  func path(_ name: String) -> String { folder.appending(path: name).path }

  private func openssl(_ arguments: String) throws {
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.currentDirectoryURL = folder
    process.arguments = ["openssl"] + arguments.split(separator: " ").map(String.init)
    process.standardError = FileHandle.nullDevice
    try process.run()
    process.waitUntilExit()
    try #require(process.terminationStatus == 0)
  }
}

@Suite("Redis over TLS", .serialized)
struct RealTLSTests {
  private let certificates: Certificates

  init() throws { certificates = try Certificates() }

  private func server(asksClients: Bool = false) throws -> RealRedis {
    let port = try RealRedis.freePort()
    let redis = try RealRedis(
      "--port 0 --tls-port \(port) --tls-cert-file \(certificates.path("server.pem")) --tls-key-file "
        + "\(certificates.path("server.key")) --tls-ca-cert-file \(certificates.path("ca.pem")) --tls-auth-clients "
        + (asksClients ? "yes" : "no"))
    redis.use(port: port)
    return redis
  }

  private func client(_ redis: RealRedis, _ encryption: RedisEncryption) throws -> RealClient {
    try RealClient(.single(RedisServer(address: .socket(redis.tcp), encryption: encryption)))
  }

  private func refusal(_ real: RealClient) throws -> String {
    try real.run { $0.said.contains { if case .down(.encryption) = $0 { true } else { false } } }
    for case .down(.encryption(let message)) in real.owner.said { return message }
    return ""
  }

  @Test("A server whose certificate comes from somebody else is refused")
  func wrongAuthority() throws {
    let redis = try server()
    let real = try client(redis, RedisEncryption(authorities: certificates.path("other.pem")))
    #expect(try refusal(real).contains("the server's certificate is not good") && real.owner.ups == 0)
  }

  @Test("A server whose certificate is good for another name is refused")
  func wrongName() throws {
    let redis = try server()
    let encryption = RedisEncryption(authorities: certificates.path("ca.pem"), serverName: "elsewhere.test")
    let real = try client(redis, encryption)
    #expect(try refusal(real).contains("ostname mismatch") && real.owner.ups == 0)
  }

  @Test("A server without TLS is refused, and nothing is said to it in the open")
  func plainServer() throws {
    let redis = try RealRedis(usesPort: true)
    let real = try client(redis, RedisEncryption(authorities: certificates.path("ca.pem")))
    try real.run(within: 20) { $0.said.count > 3 }
    #expect(real.owner.ups == 0 && !real.owner.said.isEmpty)
  }

  @Test("Files that hold nothing of use are refused at once, with their names")
  func uselessFiles() throws {
    let encryption = RedisEncryption(
      authorities: certificates.path("ca.pem"), certificate: certificates.path("client.pem"),
      key: certificates.path("server.key"))
    #expect(throws: RedisFault.self) {
      try RealClient(.single(RedisServer(address: AddressText("h:1")!, encryption: encryption)))
    }
    #expect(throws: RedisFault.self) {
      try RealClient(
        .single(RedisServer(address: AddressText("h:1")!, encryption: RedisEncryption(authorities: "/nonexistent"))))
    }
  }

  @Test(
    "Thousands of commands go through TLS in order, by address and by name, with a client's certificate and without",
    arguments: [(nil, false), ("redis.test", true)] as [(String?, Bool)])
  func serves(name: String?, asksClients: Bool) throws {
    let redis = try server(asksClients: asksClients)
    var encryption = RedisEncryption(authorities: certificates.path("ca.pem"), serverName: name)
    if asksClients {
      encryption.certificate = certificates.path("client.pem")
      encryption.key = certificates.path("client.key")
    }
    let real = try client(redis, encryption)
    #expect(try real.run { $0.ups == 1 })
    var sent: UInt64 = 0
    let isComplete = try real.run { owner in
      while sent < 10_000, owner.increment(sent, "n", within: 5_000_000_000) == .accepted { sent += 1 }
      return owner.outcomes.count == 10_000
    }
    #expect(isComplete && real.owner.outcomes == (0..<10_000).map { .reply($0, ":\($0 + 1)") })
  }

  @Test("A server that asks for a certificate lets nobody in without")
  func missingCertificate() throws {
    let redis = try server(asksClients: true)
    let real = try client(redis, RedisEncryption(authorities: certificates.path("ca.pem")))
    try real.run { $0.said.count > 1 }
    #expect(real.owner.ups == 0)
  }
}
