import Core
import Crypto
import Net
import Pipeline

/// How a listener speaks TLS, with the certificates that its files hold now. Immutable.
public struct ListenerTLS: Equatable, Sendable {
  /// What was asked for; names the files.
  public let options: ListenerTLSOptions
  /// What its connections have in common.
  let context: TLSServerContext
  /// What it shows, in the order of the options.
  let credentials: [TLSCredential]
  /// Whom clients have to be known by.
  private let clients: TLSClientPolicy?
  /// Of all files that it was made from.
  private let digest: Digest

  /// Whether both were made from the same options, and files that said the same. What authorities say of certificates, where
  /// that is fetched, makes no difference.
  public static func == (left: ListenerTLS, right: ListenerTLS) -> Bool {
    left.digest == right.digest && left.options == right.options
  }

  private init(
    _ options: ListenerTLSOptions, _ credentials: [TLSCredential], _ clients: TLSClientPolicy?, _ digest: Digest
  ) throws(TLSFault) {
    var settings = TLSServerSettings(credentials: credentials)
    (settings.profile, settings.minimumVersion) = (options.profile, options.minimumVersion)
    (settings.clients, settings.resumes) = (clients, options.resumes)
    settings.acceptsEarlyData = options.acceptsEarlyData
    if options.offersHTTP2 { settings.protocols = ["h2", "http/1.1"] }
    context = try TLSServerContext(settings)
    (self.options, self.credentials, self.clients, self.digest) = (options, credentials, clients, digest)
  }

  /// Makes TLS of what the files of `options` say. There is a result exactly if there are no faults. Some milliseconds.
  static func load(
    _ options: ListenerTLSOptions, _ readings: FileReadings
  ) -> (tls: ListenerTLS?, faults: [TLSFileFault]) {
    var files = TLSFiles(readings)
    var credentials: [TLSCredential] = []
    for (index, pair) in options.certificates.enumerated() {
      let steps: [OptionStep] = [.key("certificates"), .index(index)]
      let certificate = files.text(pair.certificate, steps + [.key("certificate")])
      let key = files.text(pair.key, steps + [.key("key")])
      let staple = pair.staple.map { files.staple($0, steps + [.key("ocsp")]) } ?? []
      guard let certificate, let key, let staple else { continue }
      do throws(TLSFault) {
        let credential = try TLSCredential(certificate: certificate, key: key, staple: staple)
        credentials.append(credential)
        if pair.fetchesStaple { checkInquiry(credential, steps + [.key("ocsp")], &files) }
      } catch {
        files.fail(
          error.message, steps + [.key("certificate")],
          "name the PEM file of a certificate, and as key the one of the key that belongs to it")
      }
    }
    let clients = clients(options, &files)
    guard files.faults.isEmpty else { return (nil, files.faults) }
    do throws(TLSFault) {
      return (try ListenerTLS(options, credentials, clients, readings.digest(of: options.files)), [])
    } catch {
      files.fail("TLS cannot be set up: \(error.message)", [], "use other certificates")
      return (nil, files.faults)
    }
  }

  /// Whether there is somebody to ask.
  private static func checkInquiry(_ credential: TLSCredential, _ steps: [OptionStep], _ files: inout TLSFiles) {
    do throws(TLSFault) {
      if FetchURL(try OCSPInquiry(credential).responder, allowsPlain: true) != nil { return }
      files.fail("the address of the certificate's responder is none", steps, "name the file of an OCSP response")
    } catch {
      files.fail(
        error.message, steps, "append the certificate of its issuer to its file, or name the file of an OCSP response")
    }
  }

  private static func clients(_ options: ListenerTLSOptions, _ files: inout TLSFiles) -> TLSClientPolicy? {
    guard let clients = options.clients else { return nil }
    let steps: [OptionStep] = [.key("clientCertificates"), .key("authorities")]
    let authorities = files.text(clients.authorities, steps)
    let revoked = clients.revoked.map { files.text($0, [.key("clientCertificates"), .key("revoked")]) } ?? []
    guard let authorities, let revoked else { return nil }
    do throws(TLSFault) {
      var policy = TLSClientPolicy(
        isRequired: clients.isRequired, authorities: try TLSAuthorities(certificates: authorities, revoked: revoked),
        names: clients.names)
      policy.keepsChain = clients.forwardsChain
      return policy
    } catch {
      files.fail(error.message, steps, "name PEM files of certificates and of revocation lists")
      return nil
    }
  }

  /// The same with what the files say now; nil where that is nothing new, or of no use for the reasons given.
  func renewed(_ readings: FileReadings) -> (tls: ListenerTLS?, faults: [String]) {
    if readings.digest(of: options.files) == digest { return (nil, []) }
    let (tls, faults) = Self.load(options, readings)
    return (tls, faults.map(\.message))
  }

  /// The certificates about which authorities are asked, and what people call them.
  var inquiries: [(name: String, credential: TLSCredential)] {
    zip(options.certificates, credentials).filter { $0.0.fetchesStaple }.map { ($0.certificate, $1) }
  }

  /// What it shows, and what people call that.
  var certificates: [(name: String, credential: TLSCredential)] {
    zip(options.certificates, credentials).map { ($0.certificate, $1) }
  }

  /// The same with what authorities say of those certificates, empty for nothing; nil where that is shown already.
  func stapling(_ staple: (TLSCredential) -> [UInt8]) -> ListenerTLS? {
    var isNew = false
    let stapled = zip(options.certificates, credentials).map { pair, credential in
      guard pair.fetchesStaple, case let bytes = staple(credential), bytes != credential.staple else {
        return credential
      }
      isNew = true
      return credential.stapling(bytes)
    }
    return isNew ? try? ListenerTLS(options, stapled, clients, digest) : nil
  }

  /// What people should know of the certificates at `now`: those that are not good any more, not yet, or not much longer.
  public func remarks(at now: WallTime) -> [String] {
    zip(options.certificates, credentials).flatMap { pair, credential in
      var remarks: [String] = []
      if credential.mustStaple, pair.staple == nil, !pair.fetchesStaple {
        remarks.append("\(pair.certificate) has clients insist on an OCSP response, and ocsp says nothing of one")
      }
      return remarks + [credential.remark(pair.certificate, for: "clients", at: now)].compactMap(\.self)
    }
  }
}
