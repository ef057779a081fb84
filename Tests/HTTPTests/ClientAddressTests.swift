import Core
import HTTP
import Testing

@Suite("ClientAddress")
struct ClientAddressTests {
  /// Who the client is when 10.0.0.0/8 is trusted.
  static func find(_ fields: String, peer: String = "10.0.0.1") -> String {
    let head = RequestHead()
    let request = buffer("GET / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n")
    #expect(head.parse(request, limits: HeadLimits()) == .complete(byteCount: request.count))
    return "\(ClientAddress.find(head, peer: IPAddress(peer)!) { $0.isV4 && $0.v4 >> 24 == 10 })"
  }

  @Test("An untrusted peer is the client, whatever it says")
  func untrusted() {
    #expect(Self.find("X-Forwarded-For: 192.0.2.9\r\n", peer: "203.0.113.5") == "203.0.113.5")
    #expect(Self.find("Forwarded: for=192.0.2.9\r\n", peer: "203.0.113.5") == "203.0.113.5")
  }

  @Test(
    "What stands before the first untrusted address is the client's own invention",
    arguments: [
      ("", "10.0.0.1"), ("X-Forwarded-For: 192.0.2.9\r\n", "192.0.2.9"),
      ("X-Forwarded-For: 198.51.100.1, 192.0.2.9\r\n", "192.0.2.9"),
      ("X-Forwarded-For: 198.51.100.1, 192.0.2.9 , 10.0.0.2,10.0.0.3\r\n", "192.0.2.9"),
      ("X-Forwarded-For: 192.0.2.9\r\nX-Forwarded-For: 10.0.0.2\r\n", "192.0.2.9"),
      ("X-Forwarded-For: 10.0.0.9, 10.0.0.2\r\n", "10.0.0.9"), ("X-Forwarded-For: 192.0.2.9, unknown\r\n", "10.0.0.1"),
      ("X-Forwarded-For: 192.0.2.9, nonsense, 10.0.0.2\r\n", "10.0.0.2"), ("X-Forwarded-For: ,,\r\n", "10.0.0.1"),
      ("X-Forwarded-For: 192.0.2.9:4711\r\n", "192.0.2.9"), ("X-Forwarded-For: [2001:db8::1]:80\r\n", "2001:db8::1"),
      ("X-Forwarded-For: 2001:db8::1\r\n", "2001:db8::1"), ("X-Forwarded-For: 192.0.2.9:99999\r\n", "10.0.0.1"),
      ("Forwarded: for=192.0.2.9\r\n", "192.0.2.9"),
      ("Forwarded: For=\"[2001:db8:cafe::17]:4711\";proto=https;by=10.0.0.1\r\n", "2001:db8:cafe::17"),
      ("Forwarded: for=198.51.100.1, for=192.0.2.9;host=\"a,b\", for=10.0.0.2\r\n", "192.0.2.9"),
      ("Forwarded: for=192.0.2.9, for=_hidden, for=10.0.0.2\r\n", "10.0.0.2"),
      ("Forwarded: proto=http\r\n", "10.0.0.1"), ("Forwarded: for=192.0.2.9;for=192.0.2.8\r\n", "10.0.0.1"),
      ("Forwarded: for=\"192.0.2.9\\\"\"\r\n", "10.0.0.1"),
    ])
  func walk(fields: String, client: String) { #expect(Self.find(fields) == client) }

  @Test(
    "An open quote of the client's does not swallow what a proxy appended",
    arguments: ["for=\"x", "for=\"x\\", "for=\"x\\\"", "\"", "for=x\"y"])
  func openQuote(invention: String) { #expect(Self.find("Forwarded: \(invention), for=192.0.2.9\r\n") == "192.0.2.9") }

  @Test("Who makes two kinds of field disagree is nobody, and never the proxy")
  func disagreement() {
    #expect(Self.find("Forwarded: for=192.0.2.9\r\nX-Forwarded-For: 192.0.2.9\r\n") == "192.0.2.9")
    #expect(Self.find("Forwarded: for=192.0.2.9\r\nX-Forwarded-For: 192.0.2.8\r\n") == "::")
    #expect(Self.find("Forwarded: for=10.0.0.9\r\nX-Forwarded-For: 192.0.2.8\r\n") == "::")
  }

  @Test("The search ends after so many hops")
  func hopLimit() {
    let hops = (0..<100).map { "10.0.1.\($0)" }.joined(separator: ",")
    #expect(Self.find("X-Forwarded-For: 192.0.2.9,\(hops)\r\n") == "10.0.1.\(100 - ClientAddress.hopLimit)")
  }
}
