<#
.SYNOPSIS
What the scripts have in common.
.DESCRIPTION
Input: none; the bootstrap loads these functions before each script.
Output: none.
Errors: a function that fails throws an exception with the kind of the error in its data:
  not-found   a site, a store, an account or a certificate does not exist
  denied      the account that runs this lacks a right
  conflict    something stands in the way that is not ours
  changed     the state is not the one that was looked at
  in-use      somebody else is at work; the same call may succeed later
  bad-pfx     the PFX cannot be opened, or holds another certificate
  failed      anything else
#>

function Stop-Work {
    param([string] $Kind, [string] $Message)
    $problem = New-Object System.InvalidOperationException($Message)
    $problem.Data['certlife'] = $Kind
    throw $problem
}

# One change at a time on this machine. A process that died with the lock leaves what the next one repairs.
function Invoke-Alone {
    param([scriptblock] $Work)
    $mutex = New-Object System.Threading.Mutex($false, 'Global\certlife')
    try {
        try { $held = $mutex.WaitOne(120000) } catch [System.Threading.AbandonedMutexException] { $held = $true }
        if (-not $held) { Stop-Work 'in-use' 'another process has been changing certificates for two minutes' }
        try { & $Work } finally { $mutex.ReleaseMutex() }
    } finally {
        $mutex.Dispose()
    }
}

function Get-Sha256 {
    param([byte[]] $Content)
    $hash = [System.Security.Cryptography.SHA256]::Create()
    try { $digest = $hash.ComputeHash($Content) } finally { $hash.Dispose() }
    [BitConverter]::ToString($digest).Replace('-', '').ToLowerInvariant()
}

# A directory below %ProgramData%, where any user may make one, so the owner tells whether it is ours.
function Get-OwnDirectory {
    $path = [IO.Path]::Combine([Environment]::GetFolderPath('CommonApplicationData'), 'certlife')
    $rights = New-Object System.Security.AccessControl.DirectorySecurity
    $rights.SetSecurityDescriptorSddlForm('O:BAG:BAD:PAI(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)')
    [void] [IO.Directory]::CreateDirectory($path, $rights)
    $directory = New-Object System.IO.DirectoryInfo($path)
    $owner = $directory.GetAccessControl().GetOwner([System.Security.Principal.SecurityIdentifier]).Value
    $linked = ($directory.Attributes -band [IO.FileAttributes]::ReparsePoint) -ne 0
    if ($linked -or @('S-1-5-32-544', 'S-1-5-18') -notcontains $owner) {
        Stop-Work 'conflict' ('{0} is a link, or was made by somebody who is no administrator' -f $path)
    }
    $directory.SetAccessControl($rights)
    $path
}

# Names of certificates that differ in case alone are different; file names are not.
function Get-FileStem {
    param([string] $Certificate)
    $digest = Get-Sha256 ([System.Text.Encoding]::UTF8.GetBytes($Certificate))
    $Certificate + '-' + $digest.Substring(0, 8)
}

# What a process left unfinished that died is removed by whoever asks next where things are: only one is at work.
function Get-StatePath {
    param([string] $Certificate)
    $path = [IO.Path]::Combine((Get-OwnDirectory), (Get-FileStem $Certificate) + '.json')
    [IO.File]::Delete($path + '.new')
    $path
}

# Where the PFX files of one certificate for the central store are kept, if there are any.
function Get-KeptDirectory {
    param([string] $Certificate)
    $path = [IO.Path]::Combine((Get-OwnDirectory), (Get-FileStem $Certificate) + '.pfx')
    if ([IO.Directory]::Exists($path)) {
        foreach ($file in [IO.Directory]::GetFiles($path, '*.new')) { [IO.File]::Delete($file) }
        if ([IO.Directory]::GetFileSystemEntries($path).Length -eq 0) { [IO.Directory]::Delete($path) }
    }
    $path
}

function Read-State {
    param([string] $Path)
    if ([IO.File]::Exists($Path)) { [IO.File]::ReadAllText($Path) }
}

# Replaces a file at once, so that readers find the old content or the new. What is not yet whole is beside it, with
# `.new` behind its name.
function Write-File {
    param([string] $Path, [byte[]] $Content)
    $new = $Path + '.new'
    $stream = New-Object System.IO.FileStream($new, 'Create', 'Write', 'None', 4096, 'WriteThrough')
    try {
        $stream.Write($Content, 0, $Content.Length)
        $stream.Flush($true)
    } finally {
        $stream.Dispose()
    }
    if ([IO.File]::Exists($Path)) {
        [IO.File]::Replace($new, $Path, [System.Management.Automation.Language.NullString]::Value)
    } else {
        [IO.File]::Move($new, $Path)
    }
}

function Write-State {
    param([string] $Path, $Text)
    if ($null -eq $Text) {
        [IO.File]::Delete($Path)
    } elseif (-not [string]::Equals((Read-State $Path), $Text, [StringComparison]::Ordinal)) {
        Write-File $Path ([System.Text.Encoding]::UTF8.GetBytes($Text))
    }
}

# Opens a certificate store of the machine; archived certificates are in it as well.
function Open-Store {
    param([string] $Name, [string] $Access)
    $store = New-Object System.Security.Cryptography.X509Certificates.X509Store($Name, 'LocalMachine')
    try {
        $store.Open($Access + ', OpenExistingOnly, IncludeArchived')
    } catch [System.Security.Cryptography.CryptographicException] {
        # 0x80070005, access denied.
        if ($_.Exception.GetBaseException().HResult -eq -2147024891) { throw }
        Stop-Work 'not-found' ('the certificate store {0}' -f $Name)
    }
    $store
}

function Find-Certificate {
    param($Store, [string] $Thumbprint)
    foreach ($certificate in $Store.Certificates) {
        if ($certificate.Thumbprint -eq $Thumbprint) { return $certificate }
    }
}

# The private key as an object of CNG, or of the older CryptoAPI; nothing if there is none that can be used.
function Get-Key {
    param($Certificate)
    if (-not $Certificate.HasPrivateKey) { return }
    try {
        $key = [System.Security.Cryptography.X509Certificates.RSACertificateExtensions]::GetRSAPrivateKey($Certificate)
        if ($null -eq $key) {
            $key = [System.Security.Cryptography.X509Certificates.ECDsaCertificateExtensions]::GetECDsaPrivateKey($Certificate)
        }
        $key
    } catch [System.Security.Cryptography.CryptographicException] {
        # The key's file is gone, or not ours to read.
        return
    }
}

function Test-Key {
    param($Certificate)
    $key = Get-Key $Certificate
    if ($null -eq $key) { return $false }
    $key.Dispose()
    $true
}

# Gives a certificate that has no key the one that belongs to it, if that is on the machine all the same.
# https://learn.microsoft.com/en-us/windows-server/administration/windows-commands/certutil#-repairstore
function Restore-Key {
    param([string] $Store, [string] $Thumbprint)
    $program = [IO.Path]::Combine([Environment]::SystemDirectory, 'certutil.exe')
    # It fails where there is no such key, which is seen by the certificate.
    [void] (& $program -Silent -repairstore $Store $Thumbprint)
}

function Resolve-Account {
    param([string] $Name)
    $account = New-Object System.Security.Principal.NTAccount($Name)
    try {
        $account.Translate([System.Security.Principal.SecurityIdentifier])
    } catch [System.Security.Principal.IdentityNotMappedException] {
        Stop-Work 'not-found' ('the account {0}' -f $Name)
    }
}

# The configuration of IIS; nothing if IIS is not installed.
function Get-Iis {
    $assembly = [IO.Path]::Combine([Environment]::SystemDirectory, 'inetsrv', 'Microsoft.Web.Administration.dll')
    if (-not [IO.File]::Exists($assembly)) { return }
    Add-Type -LiteralPath $assembly
    New-Object Microsoft.Web.Administration.ServerManager
}

function Select-Site {
    param($Iis, [string] $Name)
    if ($null -eq $Iis) { return }
    foreach ($site in $Iis.Sites) {
        if ([string]::Equals($site.Name, $Name, [StringComparison]::OrdinalIgnoreCase)) { return $site }
    }
}

function Find-Site {
    param($Iis, [string] $Name)
    $site = Select-Site $Iis $Name
    if ($null -eq $site) { Stop-Work 'not-found' ('the IIS site {0}' -f $Name) }
    $site
}

function Find-Binding {
    param($Site, [string] $Information)
    foreach ($binding in $Site.Bindings) {
        $same = [string]::Equals($binding.BindingInformation, $Information, [StringComparison]::OrdinalIgnoreCase)
        if ($same -and $binding.Protocol -eq 'https') { return $binding }
    }
}

function Get-SiteRoot {
    param($Site)
    $path = $Site.Applications['/'].VirtualDirectories['/'].PhysicalPath
    [IO.Path]::GetFullPath([Environment]::ExpandEnvironmentVariables($path)).TrimEnd('\')
}

# The directories from the root's child down to the one that a challenge file is in.
function Get-ChallengeDirectories {
    param([string] $Root, $Segments)
    $path = $Root
    for ($at = 0; $at -lt $Segments.Count - 1; $at++) {
        $path = [IO.Path]::GetFullPath([IO.Path]::Combine($path, $Segments[$at]))
        if (-not $path.StartsWith($Root + '\', [StringComparison]::OrdinalIgnoreCase)) {
            Stop-Work 'conflict' ('{0} is not below {1}' -f $path, $Root)
        }
        $path
    }
}

# Whether there is a real directory; a link in the way is refused rather than followed.
function Test-RealDirectory {
    param([string] $Path)
    $directory = New-Object System.IO.DirectoryInfo($Path)
    if ([IO.File]::Exists($Path)) { Stop-Work 'conflict' ('{0} is not a directory' -f $Path) }
    if (-not $directory.Exists) { return $false }
    if (($directory.Attributes -band [IO.FileAttributes]::ReparsePoint) -ne 0) {
        Stop-Work 'conflict' ('{0} is a link; a directory is wanted' -f $Path)
    }
    $true
}

# Removes a directory that is about to get its name, or has just lost it. What others put there stays.
function Remove-OwnDirectory {
    param([string] $Path)
    if (-not (Test-RealDirectory $Path)) { return }
    $inner = [IO.Path]::Combine($Path, '.certlife-made')
    if ([IO.Directory]::Exists($inner)) { Remove-OwnDirectory $inner }
    foreach ($name in @('.certlife-new', 'web.config.new', 'web.config', '.certlife')) {
        [IO.File]::Delete([IO.Path]::Combine($Path, $name))
    }
    [IO.Directory]::Delete($Path)
}
