//! The web servers that the vendor knows: a fixed list, which no call delivers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Declares the list with the vendor's spelling, whose case is irregular and counts.
macro_rules! servers {
    ($($variant:ident = $code:literal $title:literal,)*) => {
        /// The software of a server, in the vendor's terms. nginx and everything modern is [`Other`](Self::Other).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
        #[non_exhaustive]
        pub enum WebServer {
            $(#[doc = concat!($title, ".")] #[serde(rename = $code)] $variant,)*
            /// Any other.
            #[default]
            Other,
        }
    };
}

servers! {
    Aol = "aol" "AOL",
    ApacheModSsl = "apachessl" "Apache with `mod_ssl`",
    ApacheRaven = "apacheraven" "Apache with Raven",
    ApacheSsleay = "apachessleay" "Apache with `SSLeay`",
    ApacheOpenssl = "apacheopenssl" "Apache with OpenSSL",
    Apache2 = "apache2" "Apache 2",
    ApacheApacheSsl = "apacheapachessl" "Apache with `ApacheSSL`",
    Iis = "iis" "Microsoft IIS",
    Iis4 = "iis4" "Microsoft IIS 4",
    Iis5 = "iis5" "Microsoft IIS 5",
    Stronghold = "c2net" "Stronghold",
    IbmHttp = "Ibmhttp" "IBM HTTP Server",
    IbmInternet = "Ibminternet" "IBM Internet Connection Server",
    Iplanet = "Iplanet" "iPlanet 4.1",
    DominoGo4625 = "Dominogo4625" "Domino Go 4.6.2.5",
    DominoGo4626 = "Dominogo4626" "Domino Go 4.6.2.6",
    Domino = "Domino" "Lotus Domino 4.6 and later",
    Netscape = "Netscape" "Netscape",
    NetscapeFastTrack = "NetscapeFastTrack" "Netscape `FastTrack`",
    Zeus = "zeusv3" "Zeus",
    Cobalt = "cobaltseries" "Cobalt",
    Covalent = "covalentserver" "Covalent",
    Cpanel = "cpanel" "cPanel",
    Ensim = "ensim" "Ensim",
    Hsphere = "hsphere" "H-Sphere",
    Ipswitch = "ipswitch" "Ipswitch",
    Plesk = "plesk" "Plesk",
    Tomcat = "tomcat" "Tomcat",
    WebLogic = "WebLogic" "`WebLogic`",
    Website = "website" "O'Reilly `WebSite`",
    Webstar = "webstar" "`WebSTAR`",
    Sap = "sapwebserver" "SAP",
    Webten = "webten" "`WebTen`",
    RedHat = "redhat" "Red Hat",
    Raven = "reven" "Raven SSL",
    R3 = "r3ssl" "R3 SSL",
    Quid = "quid" "Quid Pro Quo",
    Oracle = "oracle" "Oracle",
    JavaWebServer = "javawebserver" "Java Web Server",
    Cisco3000 = "cisco3000" "Cisco 3000",
    Citrix = "citrix" "Citrix",
}
