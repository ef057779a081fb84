import Core
import HTTP

/// What the flow bounds, by the file's settings. Durations are nanoseconds.
struct FlowLimits {
  let head: HeadLimits
  let settings: NodeLimits
  /// Proxies whose word on the client is taken.
  let trustedProxies: [IPNetwork]

  init(_ node: NodeSettings) {
    settings = node.limits
    trustedProxies = node.trustedProxies
    head = HeadLimits(
      requestLineBytes: settings.requestLineBytes, fieldCount: settings.fieldCount, headBytes: settings.headBytes,
      paths: settings.paths)
  }

  /// The same for HTTP/2.
  var http2: HTTP2Options {
    var options = HTTP2Options()
    options.concurrentStreams = settings.streamsPerConnection
    options.fields = HPACKLimits(listBytes: settings.headBytes, fieldCount: settings.fieldCount)
    options.fieldBlockBytes = max(options.fieldBlockBytes, settings.headBytes)
    options.continuations += settings.headBytes / HTTP2Options.frameBytes
    return options
  }
}
