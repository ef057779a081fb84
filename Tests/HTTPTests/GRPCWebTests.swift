import Core
import HTTP
import Testing

@Suite("GRPCWebCall")
struct GRPCWebCallTests {
  private func make(_ type: String, accept: String = "") -> GRPCWebCall? {
    GRPCWebCall(contentType: RawSpan(Array(type.utf8)), accept: RawSpan(Array(accept.utf8)))
  }

  /// What `append` writes for these bytes, handed over in parts of `size`, and at the end.
  private func response(_ bytes: [UInt8], isText: Bool, partBytes size: Int = 1 << 20) throws -> [UInt8] {
    let call = try #require(make(isText ? "application/grpc-web-text" : "application/grpc-web"))
    let target = ByteBuffer()
    for start in stride(from: 0, to: bytes.count, by: size) {
      call.append(RawSpan(Array(bytes[start..<min(start + size, bytes.count)])), to: target)
    }
    call.take(trailer: RawSpan(Array("grpc-status".utf8)), value: RawSpan(Array("0".utf8)))
    call.appendEnd(to: target)
    return target.bytes.array
  }

  @Test(
    "Types other than gRPC-Web are none of its calls",
    arguments: [
      "", "application/grpc", "application/grpc+proto", "application/grpc-webtext", "application/grpc-web-textual",
      "application/grpc-web+", "application/grpc-web-text+", "application/grpc-web+pro\tto", "application/json",
    ])
  func others(type: String) { #expect(make(type) == nil) }

  @Test(
    "Request and response have their types, and the messages keep their format",
    arguments: [
      ("application/grpc-web", "", "application/grpc+proto", "application/grpc-web+proto"),
      ("application/grpc-web+json", "*/*", "application/grpc+json", "application/grpc-web+json"),
      ("Application/GRPC-Web+proto; v=1", "", "application/grpc+proto", "application/grpc-web+proto"),
      ("application/grpc-web-text", "", "application/grpc+proto", "application/grpc-web-text+proto"),
      ("application/grpc-web-text+x", "", "application/grpc+x", "application/grpc-web-text+x"),
      (
        "application/grpc-web", "application/grpc-web-text", "application/grpc+proto", "application/grpc-web-text+proto"
      ),
      (
        "application/grpc-web-text", "application/grpc-web+proto", "application/grpc+proto",
        "application/grpc-web+proto"
      ),
    ])
  func types(type: String, accept: String, request: String, response: String) throws {
    let call = try #require(make(type, accept: accept))
    let target = ByteBuffer()
    call.appendRequestType(to: target)
    target.append(UInt8(ascii: " "))
    call.appendResponseType(to: target)
    #expect(target.bytes.text == "\(request) \(response)")
    #expect(call.isRequestEncoded == type.lowercased().contains("-text"))
  }

  @Test(
    "What is no Base64 is refused",
    arguments: ["A", "=", "A=", "A===", "AB=A", "AB==C=", "AAA*", "A A=", "AB==A", "AC==", "AAB="])
  func malformed(text: String) throws {
    let call = try #require(make("application/grpc-web-text"))
    let isFine = call.decode(RawSpan(Array(text.utf8)), to: ByteBuffer())
    #expect(!(isFine && call.isRequestWhole))
  }

  @Test("Base64 may come in any parts, each of them padded", arguments: 1...9)
  func parts(size: Int) throws {
    let call = try #require(make("application/grpc-web-text"))
    let text = Array("AAAAAAMAAQI=AA==/w==+/+/".utf8)
    let target = ByteBuffer()
    for start in stride(from: 0, to: text.count, by: size) {
      let isFine = call.decode(RawSpan(Array(text[start..<min(start + size, text.count)])), to: target)
      #expect(isFine)
    }
    #expect(call.isRequestWhole)
    #expect(target.bytes.array == [0, 0, 0, 0, 3, 0, 1, 2, 0, 0xff, 0xfb, 0xff, 0xbf])
  }

  @Test("Trailers are the last message, marked as such")
  func trailers() throws {
    let message: [UInt8] = [0, 0, 0, 0, 2, 7, 8]
    let trailer = [0x80, 0, 0, 0, 16] + Array("grpc-status: 0\r\n".utf8)
    #expect(try response(message, isText: false) == message + trailer)
    #expect(try response([], isText: false) == trailer)
  }

  @Test(
    "As text each message is padded for itself, however it comes, and the trailers too",
    arguments: [1, 2, 3, 5, 7, 100])
  func text(size: Int) throws {
    let messages: [[UInt8]] = [
      [0, 0, 0, 0, 2, 7, 8], [0, 0, 0, 0, 0], [0, 0, 0, 0, 1, 9], [0, 0, 0, 1, 44] + [UInt8](repeating: 5, count: 300),
    ]
    let text = String(
      decoding: try response(messages.flatMap { $0 }, isText: true, partBytes: size), as: UTF8.self)
    #expect(text.hasPrefix("AAAAAAIHCA==AAAAAAA=AAAAAAEJAAAAASwF"))
    #expect(text.hasSuffix("BQUFgAAAABBncnBjLXN0YXR1czogMA0K") || text.hasSuffix("BQU=gAAAABBncnBjLXN0YXR1czogMA0K"))
  }

  @Test("A message goes out as soon as it is there, a part of one as far as it makes whole digits")
  func promptness() throws {
    let call = try #require(make("application/grpc-web-text"))
    let target = ByteBuffer()
    call.append(RawSpan([0, 0, 0, 0, 2, 7, 8]), to: target)
    #expect(target.bytes.text == "AAAAAAIHCA==")
    call.append(RawSpan([0, 0, 0, 0, 2, 7]), to: target)
    #expect(target.bytes.text == "AAAAAAIHCA==AAAAAAIH")
  }

  @Test("A refusal is trailers alone")
  func refusal() throws {
    let call = try #require(make("application/grpc-web"))
    call.takeRefusal(status: 14, code: "rate-limited", detail: "100 % used")
    let target = ByteBuffer()
    call.appendEnd(to: target)
    let text = "grpc-status: 14\r\ngrpc-message: rate-limited: 100 %25 used\r\n"
    #expect(target.bytes.array == [0x80, 0, 0, 0, UInt8(text.utf8.count)] + Array(text.utf8))
  }
}
