import Core
import Crypto
import Pipeline
import Traffic

extension UpstreamTLSOptions {
  fileprivate init(_ options: inout OptionReader, speaksHTTP2: Bool) {
    self.init()
    verifies = options.bool(
      "verify", default: true,
      "Whether certificates are verified at all. Without it anybody between can be the upstream.")
    serverName = options.optionalString(
      "serverName", "The name that certificates must be good for, and that is asked for; left out, the endpoint's own.")
    authorities = options.optionalString(
      "authorities", "The PEM file of the authorities whose certificates are good; left out, the system's.")
    certificate = options.optionalString("certificate", "The PEM file of the certificate that is shown.")
    key = options.optionalString("key", "The PEM file of its private key, without a password.")
    minimumVersion = options.choice(
      "minVersion", default: TLSServerSettings.Version.tls12, "The oldest version of TLS that is spoken.")
    self.speaksHTTP2 = speaksHTTP2
  }
}

extension UpstreamTLS {
  /// Reads the section `tls` of an upstream, and the files that it names.
  init?(_ reader: inout OptionReader, speaksHTTP2: Bool) {
    let options = UpstreamTLSOptions(&reader, speaksHTTP2: speaksHTTP2)
    if reader.isDescribing { return nil }
    if !options.verifies {
      reader.warn("anybody between the gateway and the upstream can be the upstream", at: "verify", fix: "remove it")
    }
    if options.serverName?.utf8.first == UInt8(ascii: ".") {
      reader.fail("a name does not begin with a dot", at: "serverName", fix: "name one host")
    }
    if (options.certificate == nil) != (options.key == nil) {
      reader.fail("a certificate needs its key, and a key its certificate", at: "certificate", fix: "add the other")
    }
    let (tls, faults) = Self.load(options, FileReadings { [reader] in reader.content(ofFile: $0) })
    reader.record(faults)
    guard let tls else { return nil }
    self = tls
  }

  /// Makes TLS of what the files of `options` say. There is a result exactly if there are no faults. Some milliseconds.
  static func load(
    _ options: UpstreamTLSOptions, _ readings: FileReadings
  ) -> (tls: UpstreamTLS?, faults: [TLSFileFault]) {
    var files = TLSFiles(readings)
    var settings = TLSClientSettings()
    (settings.verifies, settings.minimumVersion) = (options.verifies, options.minimumVersion)
    settings.protocols = [options.speaksHTTP2 ? "h2" : "http/1.1"]
    let authorities = options.authorities.map { files.text($0, [.key("authorities")]) }
    let certificate = options.certificate.map { files.text($0, [.key("certificate")]) }
    let key = options.key.map { files.text($0, [.key("key")]) }
    guard files.faults.isEmpty else { return (nil, files.faults) }
    do throws(TLSFault) {
      if case let text?? = authorities { settings.authorities = try TLSAuthorities(certificates: text) }
      if case let first?? = certificate, case let second?? = key {
        settings.credential = try TLSCredential(certificate: first, key: second)
      }
      let tls = UpstreamTLS(
        options, context: try TLSClientContext(settings), credential: settings.credential,
        identity: identity(options, readings))
      return (tls, [])
    } catch {
      files.fail(
        error.message, [.key(options.certificate == nil ? "authorities" : "certificate")],
        "name PEM files of certificates, and of the key that belongs to one")
      return (nil, files.faults)
    }
  }

  /// The same with what the files say now; nil where that is nothing new, or of no use for the reasons given.
  func renewed(_ readings: FileReadings) -> (tls: UpstreamTLS?, faults: [String]) {
    if options.files.isEmpty || Self.identity(options, readings) == identity { return (nil, []) }
    let (tls, faults) = Self.load(options, readings)
    return (tls, faults.map(\.message))
  }

  private static func identity(_ options: UpstreamTLSOptions, _ readings: FileReadings) -> String {
    let material = ByteBuffer()
    material.append(
      utf8: "\(options.verifies) \(options.minimumVersion) \(options.serverName ?? "") \(options.speaksHTTP2)\n")
    for file in [options.authorities, options.certificate, options.key] {
      material.append(utf8: file.map { "\(readings.digest(of: [$0]).hexadecimal)\n" } ?? "none\n")
    }
    return SHA256().digest(of: material.bytes).hexadecimal
  }

  /// What people should know of the certificate that is shown, at `now`.
  func remark(at now: WallTime) -> String? {
    options.certificate.flatMap { credential?.remark($0, for: "upstreams", at: now) }
  }
}
