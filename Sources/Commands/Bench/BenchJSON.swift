import Core

/// The result for programs. Times are in nanoseconds and end in `Nanoseconds`; the layout only ever grows.
enum BenchJSON {
  static func render(_ result: BenchResult) -> String {
    let buffer = ByteBuffer(capacity: 8192)
    var json = JSONWriter(buffer)
    json.beginObject()
    json.key("version")
    json.integer(1)
    json.key("plan")
    writePlan(result.plan, streams: result.streams, &json)
    write(result, &json)
    json.key("latencyNanoseconds")
    write(result.total.latency, &json, withBuckets: true)
    json.key("connectNanoseconds")
    write(result.total.connect, &json)
    if result.plan.isSecure {
      json.key("handshakes")
      writeHandshakes(result, &json)
    }
    if result.plan.rate != nil {
      json.key("openLoop")
      writeOpenLoop(result, &json)
    }
    json.key("seconds")
    json.beginArray()
    for second in result.seconds { write(second, &json) }
    json.endArray()
    json.key("warnings")
    json.beginArray()
    for warning in result.warnings { json.string(warning) }
    json.endArray()
    json.endObject()
    buffer.append("\n")
    return buffer.text
  }

  private static func writePlan(_ plan: BenchPlan, streams: Int, _ json: inout JSONWriter) {
    json.beginObject()
    json.key("urls")
    json.beginArray()
    for target in plan.targets { json.string(target.url) }
    json.endArray()
    json.key("protocol")
    json.literal(plan.protocolName)
    json.key("tls")
    json.bool(plan.isSecure)
    json.key("connections")
    json.integer(Int64(plan.connections))
    json.key("streams")
    json.integer(Int64(streams))
    json.key("threads")
    json.integer(Int64(plan.threads))
    json.key("pipeline")
    json.integer(Int64(plan.pipeline))
    json.key("keepAlive")
    json.bool(plan.keepsAlive)
    json.key("keys")
    json.integer(Int64(plan.keys.count))
    json.key("rate")
    if let rate = plan.rate { json.number(rate) } else { json.null() }
    switch plan.extent {
    case .nanoseconds(let length):
      json.key("durationNanoseconds")
      json.integer(length)
    case .requests(let count):
      json.key("requests")
      json.integer(Int64(clamping: count))
    }
    json.key("warmupNanoseconds")
    json.integer(plan.warmupNanoseconds)
    json.key("timeoutNanoseconds")
    json.integer(plan.timeoutNanoseconds)
    json.endObject()
  }

  private static func write(_ result: BenchResult, _ json: inout JSONWriter) {
    let total = result.total
    json.key("elapsedNanoseconds")
    json.integer(result.elapsedNanoseconds)
    json.key("requestsPerSecond")
    json.number(result.rate)
    for (name, value) in [
      ("requests", total.started), ("responses", total.completed), ("receivedBytes", total.receivedBytes),
      ("reconnections", total.reconnections), ("unfinished", UInt64(max(0, result.unfinished))),
    ] {
      json.key(name)
      json.integer(Int64(clamping: value))
    }
    json.key("statuses")
    json.beginObject()
    for status in total.statuses.indices where total.statuses[status] > 0 {
      json.key("\(status)")
      json.integer(Int64(clamping: total.statuses[status]))
    }
    json.endObject()
    json.key("statusClasses")
    json.beginObject()
    for hundreds in 1...5 {
      json.key("\(hundreds)xx")
      json.integer(Int64(clamping: total.completed(class: hundreds)))
    }
    json.endObject()
    json.key("errors")
    json.beginObject()
    for kind in BenchFailure.allCases {
      json.key(kind.name)
      json.integer(Int64(clamping: total.failed(kind)))
    }
    json.endObject()
    json.key("generator")
    json.beginObject()
    json.key("cpuNanoseconds")
    json.integer(result.cpuNanoseconds)
    json.key("cpuNanosecondsPerResponse")
    json.number(result.cpuNanosecondsPerRequest)
    json.key("busyShare")
    json.number(result.busyShare)
    json.key("interrupted")
    json.bool(result.isInterrupted)
    json.endObject()
  }

  private static func writeHandshakes(_ result: BenchResult, _ json: inout JSONWriter) {
    let found = result.total.handshakes
    json.beginObject()
    for (name, value) in [("full", found.full.count), ("resumed", found.resumed.count), ("failed", found.failed)] {
      json.key(name)
      json.integer(Int64(clamping: value))
    }
    json.key("perSecond")
    json.number(result.handshakeRate)
    json.key("fullNanoseconds")
    write(found.full, &json)
    json.key("resumedNanoseconds")
    write(found.resumed, &json)
    json.endObject()
  }

  private static func writeOpenLoop(_ result: BenchResult, _ json: inout JSONWriter) {
    json.beginObject()
    json.key("held")
    json.bool(result.verdict == .held)
    json.key("limitedBy")
    switch result.verdict {
    case .held, .closedLoop: json.null()
    case .generatorTooSlow: json.literal("generator")
    case .serverTooSlow: json.literal("server")
    }
    json.key("sentPerSecond")
    json.number(result.sentRate)
    for (name, value) in [
      ("planned", result.planned), ("neverSent", result.neverSent), ("waited", result.total.waited),
    ] {
      json.key(name)
      json.integer(Int64(clamping: value))
    }
    json.key("lagNanoseconds")
    write(result.total.lag, &json)
    json.endObject()
  }

  private static func write(_ histogram: Histogram, _ json: inout JSONWriter, withBuckets: Bool = false) {
    json.beginObject()
    json.key("count")
    json.integer(Int64(clamping: histogram.count))
    json.key("min")
    json.integer(Int64(clamping: histogram.minimum))
    json.key("mean")
    json.number(histogram.mean)
    json.key("deviation")
    json.number(histogram.standardDeviation)
    for percentile in BenchResult.percentiles {
      json.key("p\(BenchText.name(percentile))")
      json.integer(Int64(clamping: histogram.value(atPercentile: percentile)))
    }
    json.key("max")
    json.integer(Int64(clamping: histogram.maximum))
    if withBuckets {
      // Each entry: the highest value of a bucket, and how many values are in it.
      json.key("buckets")
      json.beginArray()
      for bucket in 0..<Histogram.bucketCount where histogram.count(inBucket: bucket) > 0 {
        json.beginArray()
        json.integer(Int64(clamping: Histogram.upperBound(ofBucket: bucket)))
        json.integer(Int64(clamping: histogram.count(inBucket: bucket)))
        json.endArray()
      }
      json.endArray()
    }
    json.endObject()
  }

  private static func write(_ second: BenchSecond, _ json: inout JSONWriter) {
    json.beginObject()
    for (name, value) in [
      ("startNanoseconds", UInt64(second.startNanoseconds)), ("nanoseconds", UInt64(max(0, second.nanoseconds))),
      ("requests", second.started), ("responses", second.completed), ("failed", second.failed),
      ("receivedBytes", second.receivedBytes), ("p50Nanoseconds", second.p50), ("p90Nanoseconds", second.p90),
      ("p99Nanoseconds", second.p99), ("maxNanoseconds", second.maximum),
    ] {
      json.key(name)
      json.integer(Int64(clamping: value))
    }
    json.key("busyShare")
    json.number(second.busyShare)
    json.endObject()
  }
}
