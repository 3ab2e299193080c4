//! Where snapshots are kept: a folder, or a bucket of S3, GCS or Azure.

use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use tokio::runtime::Runtime;
use url::Url;

/// Longest time for one request, its retries included.
const PATIENCE: Duration = Duration::from_mins(1);

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error("{0} is not there")]
    Missing(String),
    /// The store does not answer, is full, or refuses.
    #[error("{0}")]
    Failed(String),
}

/// An object as a listing names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    pub name: String,
    /// Milliseconds since the epoch.
    pub modified_ms: i64,
}

/// Named objects, each written whole or not at all. Calls wait for their answer.
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Writes an object, in place of one of the same name.
    ///
    /// # Errors
    /// When the store does not answer, is full, or refuses; then nothing is written, or something
    /// that a checksum finds out.
    fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), StoreError>;

    /// The bytes of an object.
    ///
    /// # Errors
    /// When there is no such object, or the store does not answer.
    fn get(&self, name: &str) -> Result<Vec<u8>, StoreError>;

    /// The objects of a folder, in any order.
    ///
    /// # Errors
    /// When the store does not answer.
    fn list(&self, folder: &str) -> Result<Vec<Listed>, StoreError>;

    /// Removes an object; one that is not there is no error.
    ///
    /// # Errors
    /// When the store does not answer.
    fn delete(&self, name: &str) -> Result<(), StoreError>;
}

/// A store of the `object_store` crate, below a prefix.
#[derive(Debug)]
pub struct Objects {
    store: Box<dyn ObjectStore>,
    prefix: Path,
    /// There until it is dropped.
    runtime: Option<Runtime>,
}

impl Drop for Objects {
    fn drop(&mut self) {
        // Waiting for it is not allowed where it may be dropped, within another one.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Objects {
    /// Opens a store by its address: `file:FOLDER`, `s3://BUCKET/PREFIX`, `gs://BUCKET/PREFIX` or
    /// `az://CONTAINER/PREFIX`. Buckets take their credentials from the variables that their own
    /// tools read (`AWS_…`, `GOOGLE_…`, `AZURE_…`).
    ///
    /// # Errors
    /// When there is no such kind of store, the folder cannot be made, or the variables do not
    /// make a client.
    pub fn open(address: &str) -> Result<Objects, StoreError> {
        let failed = |error: &dyn std::fmt::Display| StoreError::Failed(error.to_string());
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("snapshots")
            .enable_all()
            .build()
            .map(Some)
            .map_err(|error| failed(&error))?;
        if let Some(folder) = address.strip_prefix("file:").filter(|rest| !rest.starts_with("//")) {
            std::fs::create_dir_all(folder)
                .map_err(|error| StoreError::Failed(format!("{folder}: {error}")))?;
            let store = object_store::local::LocalFileSystem::new_with_prefix(folder)
                .map_err(|error| failed(&error))?;
            return Ok(Objects { store: Box::new(store), prefix: Path::default(), runtime });
        }
        let url = Url::parse(address).map_err(|error| failed(&error))?;
        let (store, prefix) =
            object_store::parse_url_opts(&url, std::env::vars()).map_err(|error| failed(&error))?;
        Ok(Objects { store, prefix, runtime })
    }

    fn path(&self, name: &str) -> Path {
        self.prefix.parts().chain(Path::from(name).parts()).collect()
    }

    fn wait<T>(
        &self,
        what: impl Future<Output = object_store::Result<T>>,
    ) -> Result<T, StoreError> {
        let within = async { tokio::time::timeout(PATIENCE, what).await };
        let Some(runtime) = &self.runtime else {
            return Err(StoreError::Failed("the store is closed".to_owned()));
        };
        match runtime.block_on(within) {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(object_store::Error::NotFound { path, .. })) => Err(StoreError::Missing(path)),
            Ok(Err(error)) => Err(StoreError::Failed(error.to_string())),
            Err(_) => Err(StoreError::Failed(format!("no answer within {} s", PATIENCE.as_secs()))),
        }
    }
}

impl Store for Objects {
    fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        self.wait(async { self.store.put(&self.path(name), bytes.into()).await }).map(drop)
    }

    fn get(&self, name: &str) -> Result<Vec<u8>, StoreError> {
        let path = self.path(name);
        self.wait(async { self.store.get(&path).await?.bytes().await }).map(Vec::from)
    }

    fn list(&self, folder: &str) -> Result<Vec<Listed>, StoreError> {
        let path = self.path(folder);
        let found = self.wait(async { self.store.list_with_delimiter(Some(&path)).await })?;
        let depth = self.prefix.parts().count();
        let listed = found.objects.into_iter().map(|object| {
            let name: Path = object.location.parts().skip(depth).collect();
            let modified_ms = object.last_modified.timestamp_millis();
            Listed { name: name.to_string(), modified_ms }
        });
        Ok(listed.collect())
    }

    fn delete(&self, name: &str) -> Result<(), StoreError> {
        match self.wait(async { self.store.delete(&self.path(name)).await }) {
            Err(StoreError::Missing(_)) => Ok(()),
            other => other,
        }
    }
}

/// A store that threads share.
pub type SharedStore = Arc<dyn Store>;
