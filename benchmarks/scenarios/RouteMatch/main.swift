// The cost of one route match among 10,000, without the network around it: CPU time of parsing 10,000 different requests and
// matching them, less that of parsing them only. Prints nanoseconds, one line a round. Built and run by `benchmarks/run match`.

import Core
import Glibc
import HTTP
import Traffic

let count = 10_000
let services = 100

/// Where route `index` lives; the same shapes as in `many.py`.
func path(_ index: Int) -> String { "/service-\(index % services)/v\(index % 3 + 1)/resource-\(index)" }

func cpuNanoseconds() -> Double {
  var time = timespec()
  _ = unsafe clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
  return Double(time.tv_sec) * 1e9 + Double(time.tv_nsec)
}

let (built, problems) = RouteTable.build((0..<count).map { RouteMatch(path: path($0) + ["", "/*", "/{id}"][$0 % 3]) })
guard problems.isEmpty, let table = built else { fatalError("the table was not built: \(problems)") }

// Every 7,919th, a prime: neighbours in time are no neighbours in the table.
let heads = (0..<count).map { position in
  let index = position * 7919 % count
  let buffer = ByteBuffer(capacity: 1024)
  buffer.append(
    Array(
      "GET \(path(index))\(["", "/below/it", "/4711"][index % 3]) HTTP/1.1\r\nHost: api.example.com\r\nAccept: */*\r\n\r\n"
        .utf8))
  return buffer
}
let request = RequestHead()
let limits = HeadLimits()
var captures = RouteCaptures()
var matched = 0

/// CPU nanoseconds a request for one pass over all of them.
func pass(matching: Bool) -> Double {
  let began = cpuNanoseconds()
  for head in heads {
    guard case .complete = request.parse(head, limits: limits) else { fatalError("a request was refused") }
    if matching, case .route = table.match(request, captures: &captures) { matched += 1 }
  }
  return (cpuNanoseconds() - began) / Double(count)
}

let rounds = 30
for round in 0..<rounds {
  let parsing = pass(matching: false)
  let both = pass(matching: true)
  if round >= 5 { print(both - parsing) }
}
guard matched == rounds * count else { fatalError("\(matched) of \(rounds * count) requests found a route") }
