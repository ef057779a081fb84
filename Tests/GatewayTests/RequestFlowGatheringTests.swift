import Core
import HTTP
import Pipeline
import Simulation
import Testing

@testable import Gateway

/// Lets bodies pass that it likes.
private final class Reading: RequestHook {
  static let limit = 100_000

  func onRequest(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    exchange.gatherLimit = Self.limit
    return .gather
  }

  func onResume(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    let text = exchange.gatheredBody?.text ?? "none"
    exchange.responseFields.append(utf8: "X-Seen: \(text.utf8.count)\r\n")
    return text.contains("bad") ? .refuse(Refusal(ProblemCatalogue.accessDenied)) : .next
  }
}

/// Asks for the body once more, and for less of it.
private final class ReadingLess: RequestHook {
  func onRequest(_ exchange: inout Exchange, _ request: RequestHead, _ services: Services) -> Verdict {
    exchange.gatherLimit = 4
    return .gather
  }
}

@Suite("RequestFlow: bodies that policies see")
struct RequestFlowGatheringTests {
  private static let setup = FlowSetup(chain: [Reading()])

  private func chunked(_ text: String, trailers: String = "") -> String {
    "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
      + text.map { "1\r\n\($0)\r\n" }.joined() + "0\r\n\(trailers)\r\n"
  }

  @Test("A body that a policy does not like never reaches the upstream, and the connection goes on")
  func refuses() throws {
    let bench = try FlowBench(Self.setup)
    let origin = bench.origin()
    let client = bench.client(post("/a", "a bad one") + chunked("bad") + post("/b", "a good one"))
    bench.world.run(within: .seconds(1)) { client.responses.count == 3 }
    #expect(client.statuses == [403, 403, 200])
    #expect(origin.targets == ["/b"])
    client.peer.close()
    bench.expectRest()
  }

  @Test("A body that is longer than the policy wants to see is refused, whether it says so or not")
  func bounds() throws {
    let bench = try FlowBench(Self.setup)
    let origin = bench.origin()
    let long = String(repeating: "x", count: Reading.limit + 1)
    for text in [post("/a", long), "POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n186a1\r\n\(long)"]
    {
      let client = bench.client(text)
      bench.world.run(within: .seconds(1)) { client.responses.count == 1 }
      #expect(client.statuses == [413])
      client.peer.close()
    }
    #expect(origin.targets.isEmpty)
    bench.expectRest()
  }

  @Test("What is sent on is what came, in pieces of any size, framed as it came", arguments: [UInt64](1...8))
  func passes(seed: UInt64) throws {
    let bench = try FlowBench(Self.setup, seed: seed, seed % 2 == 0 ? .harsh : .rough)
    let origin = bench.origin()
    let long = String(repeating: "0123456789", count: 5_000)
    let client = bench.client(post("/a", long) + get("/none") + chunked("small") + post("/b", ""))
    bench.world.run(within: .seconds(20)) { client.responses.count == 4 }
    #expect(client.statuses == [200, 200, 200, 200])
    #expect(client.responses.map { $0["x-seen"] } == ["50000", "0", "5", "0"])
    #expect(origin.requests.map(\.text) == [long, "", "small", ""])
    #expect(origin.requests[2].isChunked == true)
    client.peer.close()
    bench.expectRest()
  }

  @Test("Trailers of a gathered body are sent on")
  func trailers() throws {
    let bench = try FlowBench(Self.setup)
    let origin = bench.origin()
    let client = bench.client(chunked("ab", trailers: "X-Sum: 7\r\n"))
    bench.world.run(within: .seconds(1)) { client.responses.count == 1 }
    #expect(origin.requests.first?.text == "ab")
    #expect(client.statuses == [200])
    client.peer.close()
    bench.expectRest()
  }

  @Test("A client that waits to be told sends its body when it is, and the upstream is not asked again")
  func continues() throws {
    let bench = try FlowBench(Self.setup)
    let origin = bench.origin()
    let client = bench.client("POST /e HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
    bench.world.settle()
    #expect(origin.requests.isEmpty && client.reader.interim.map(\.status) == [100])
    client.send("body")
    bench.world.run(within: .seconds(1)) { origin.requests.count == 1 && client.statuses.last == 200 }
    #expect(origin.requests.first?["expect"] == nil && origin.requests.first?.text == "body")
    client.peer.close()
    bench.expectRest()
  }

  @Test("A body that never comes ends with 408, and a client that leaves is forgotten")
  func waits() throws {
    let bench = try FlowBench(Self.setup)
    let origin = bench.origin()
    let head = "POST /s HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nhalf"
    let (slow, gone) = (bench.client(head), bench.client(head))
    bench.world.settle()
    gone.peer.reset()
    bench.world.run(within: .seconds(90)) { slow.responses.count == 1 }
    #expect(slow.statuses == [408] && origin.requests.isEmpty)
    slow.peer.close()
    bench.expectRest()
  }

  @Test("Chunks that are mostly framing are refused before they fill the memory")
  func boundsFraming() throws {
    let bench = try FlowBench(Self.setup)
    let origin = bench.origin()
    let client = bench.client("POST /f HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in 0..<40 where client.responses.isEmpty {
      client.send(String(repeating: "1\r\nx\r\n", count: 1_000))
      bench.world.settle()
    }
    #expect(client.statuses == [413] && origin.requests.isEmpty)
    client.peer.close()
    bench.expectRest()
  }

  @Test("Another policy sees the same body, within its own bound")
  func twice() throws {
    let bench = try FlowBench(FlowSetup(chain: [Reading(), ReadingLess()]))
    let origin = bench.origin()
    let client = bench.client(post("/a", "four") + post("/b", "fiver"))
    bench.world.run(within: .seconds(1)) { client.responses.count == 2 }
    #expect(client.statuses == [200, 413])
    #expect(origin.requests.map(\.text) == ["four"])
    client.peer.close()
    bench.expectRest()
  }
}
