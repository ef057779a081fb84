// The cost of one route match among 10,000, without the network around it: CPU time of parsing 10,000 different requests and
// matching them, less that of parsing them only. Prints nanoseconds, one line a round. Built and run by `benchmarks/run match`.

import Core
import Glibc
import HTTP
import Traffic

struct Trial {
  static let count = 10_000

  let table: RouteTable
  let heads: [ByteBuffer]
  let request = RequestHead()
  var captures = RouteCaptures()
  var matched = 0

  init() {
    let matches = (0..<Self.count).map { RouteMatch(path: Self.path($0) + ["", "/*", "/{id}"][$0 % 3]) }
    let (table, problems) = RouteTable.build(matches)
    guard problems.isEmpty, let table else { fatalError("the table was not built: \(problems)") }
    self.table = table
    // Every 7,919th, a prime: neighbours in time are no neighbours in the table.
    heads = (0..<Self.count).map { position in
      let index = position * 7919 % Self.count
      let target = Self.path(index) + ["", "/below/it", "/4711"][index % 3]
      let buffer = ByteBuffer(capacity: 1024)
      buffer.append(utf8: "GET \(target) HTTP/1.1\r\nHost: api.example.com\r\nAccept: */*\r\n\r\n")
      return buffer
    }
  }

  /// Where route `index` lives; the same shapes as in `many.py`.
  static func path(_ index: Int) -> String { "/service-\(index % 100)/v\(index % 3 + 1)/resource-\(index)" }

  /// CPU nanoseconds a request for one pass over all of them.
  mutating func pass(matching: Bool) -> Double {
    let began = cpuNanoseconds()
    for head in heads {
      guard case .complete = request.parse(head, limits: HeadLimits()) else { fatalError("a request was refused") }
      if matching, case .route = table.match(request, captures: &captures) { matched += 1 }
    }
    return (cpuNanoseconds() - began) / Double(Self.count)
  }

  private func cpuNanoseconds() -> Double {
    var time = timespec()
    _ = unsafe clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) * 1e9 + Double(time.tv_nsec)
  }

  /// Prints what a match cost in each of so many rounds, after a few to warm up.
  mutating func run(rounds: Int) {
    for round in -5..<rounds {
      let parsing = pass(matching: false)
      let both = pass(matching: true)
      if round >= 0 { print(both - parsing) }
    }
    precondition(matched == (rounds + 5) * Self.count, "not every request found its route")
  }
}

var trial = Trial()
trial.run(rounds: 25)
