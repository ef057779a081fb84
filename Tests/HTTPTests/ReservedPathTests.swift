import Core
import HTTP
import Testing

@Suite("Reserved paths")
struct ReservedPathTests {
  private func head(_ target: String) throws -> RequestHead {
    let buffer = ByteBuffer()
    buffer.append(utf8: "GET \(target) HTTP/1.1\r\nHost: a\r\n\r\n")
    let head = RequestHead()
    guard case .complete = head.parse(buffer, limits: HeadLimits()) else { throw HTTPFault.malformedTarget }
    return head
  }

  @Test(
    "Every path of the gateway's own is unusual, so that the quick look finds it",
    arguments: [
      "/.sluice", "/.sluice/", "/.sluice/usage", "/.sluice?a=b", "/.sluice/usage?/.", "http://a/.sluice/usage",
      "/.sluice/a/rather/long/path/of/more/than/thirty-two/bytes",
    ])
  func reserved(target: String) throws {
    let head = try head(target)
    #expect(head.isPathUnusual && head.isReserved)
  }

  @Test(
    "Others are not reserved, and usual where no dot begins a segment",
    arguments: [
      ("/", false), ("/a.b/c", false), ("/usage", false), ("/a?b=/.sluice", false), ("/.well-known/x", true),
      ("/.sluices", true), ("/.Sluice/usage", true), ("/a/.sluice/usage", true), ("/a%41", true),
    ])
  func others(target: String, isUnusual: Bool) throws {
    let head = try head(target)
    #expect(head.isPathUnusual == isUnusual && !head.isReserved)
  }
}
